//! `millrace group`: consumer groups shown, their offsets moved, removed.

mod describe;
mod reset;

use std::collections::BTreeMap;

use anyhow::{Result, bail};
use clap::Subcommand;
use client::admin::DescribedGroup;
use client::{Client, Error};
use serde_json::json;
use types::ErrorCode;

use crate::cluster::{Cluster, all_done};
use crate::output::{self, Table};

/// What `group` is told.
#[derive(clap::Args)]
pub(crate) struct Arguments {
    #[command(flatten)]
    cluster: Cluster,
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// List all groups.
    List,
    /// Describe groups: members, committed offsets and how far behind they are.
    Describe(describe::Arguments),
    /// Move a group's committed offsets. The group must have no members.
    ResetOffsets(reset::Arguments),
    /// Remove groups with their offsets. They must have no members.
    Delete(Delete),
}

#[derive(clap::Args)]
struct Delete {
    /// The groups' ids.
    #[arg(required = true)]
    groups: Vec<String>,
}

/// Does what was asked.
pub(crate) fn run(arguments: &Arguments) -> Result<()> {
    runtime::task::block_on(async {
        let client = arguments.cluster.connect().await?;
        let is_json = arguments.cluster.json;
        match &arguments.command {
            Command::List => list(&client, is_json).await,
            Command::Describe(asked) => describe::run(&client, asked, is_json).await,
            Command::ResetOffsets(asked) => reset::run(&client, asked, is_json).await,
            Command::Delete(asked) => delete(&client, asked, is_json).await,
        }
    })
}

async fn list(client: &Client, is_json: bool) -> Result<()> {
    let groups = client.list_groups().await?;
    if is_json {
        let group = |group: &client::admin::ListedGroup| {
            json!({
                "groupId": group.group_id,
                "state": group.group_state,
                "type": group.group_type,
                "protocolType": group.protocol_type,
            })
        };
        let said: Vec<_> = groups.iter().map(group).collect();
        return output::json(&json!(said));
    }
    let mut table = Table::new(&["GROUP", "STATE", "TYPE", "PROTOCOL"]);
    for group in groups {
        table.row(vec![
            group.group_id,
            group.group_state,
            group.group_type,
            group.protocol_type,
        ]);
    }
    output::print(&table.render())
}

/// Describes a group; nothing if there is none of that id.
///
/// # Errors
/// Those of the request.
async fn find(client: &Client, group: &str) -> Result<Option<DescribedGroup>, Error> {
    match client.describe_group(group).await {
        // Before version 6 an unknown group is described as a dead one.
        Ok(described) if described.group_state == "Dead" => Ok(None),
        Ok(described) => Ok(Some(described)),
        Err(error) if error.code() == Some(ErrorCode::GroupIdNotFound) => Ok(None),
        Err(error) => Err(error),
    }
}

async fn delete(client: &Client, asked: &Delete, is_json: bool) -> Result<()> {
    let mut results = BTreeMap::new();
    for group in &asked.groups {
        let result = client.delete_group(group).await;
        if result.is_ok() && is_json {
            output::json(&json!({ "groupId": group, "deleted": true }))?;
        } else if result.is_ok() {
            output::line(&format!("deleted group {group}"))?;
        }
        results.insert(group.clone(), result);
    }
    all_done("group", results)
}

/// Fails if the group has members.
fn must_be_empty(group: &DescribedGroup) -> Result<()> {
    let count = group.members.len();
    if count > 0 {
        let id = &group.group_id;
        bail!("group {id} has members ({count}): its offsets move only when they have left");
    }
    Ok(())
}
