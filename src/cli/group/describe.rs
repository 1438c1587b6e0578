//! `millrace group describe`.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Context, Result, bail};
use bytes::Bytes;
use client::Client;
use client::admin::{DescribedGroup, DescribedGroupMember};
use client::offsets::{CommittedOffset, IsolationLevel, ListedOffset, NamedPartition, OffsetSpec};
use protocol::stored::ConsumerProtocolAssignment;
use protocol::stored::frame::decode_versioned;
use serde_json::{Value, json};
use types::Offset;

use crate::output::{self, Table};

/// What `group describe` is told.
#[derive(clap::Args)]
pub(super) struct Arguments {
    /// The groups' ids.
    #[arg(required = true)]
    groups: Vec<String>,
    /// Show members instead of offsets.
    #[arg(long)]
    members: bool,
}

/// Describes.
pub(super) async fn run(client: &Client, asked: &Arguments, is_json: bool) -> Result<()> {
    let mut said = Vec::new();
    for id in &asked.groups {
        let named = || format!("group {id}");
        let Some(group) = super::find(client, id).await.with_context(named)? else {
            bail!("group {id} does not exist");
        };
        let described = describe(client, group).await.with_context(named)?;
        if is_json {
            said.push(described.json());
        } else {
            output::print(&described.text(asked.members))?;
        }
    }
    if is_json {
        output::json(&json!(said))?;
    }
    Ok(())
}

async fn describe(client: &Client, group: DescribedGroup) -> Result<Described> {
    let committed = client
        .committed_offsets(&group.group_id, None, false)
        .await?;
    let owners = owners(&group);
    let partitions: BTreeSet<&NamedPartition> = committed.keys().chain(owners.keys()).collect();
    let names: BTreeSet<&str> = partitions.iter().map(|(topic, _)| topic.as_str()).collect();
    let names: Vec<String> = names.into_iter().map(str::to_owned).collect();
    let known = crate::cluster::metadata(client, Some(&names)).await?;
    let led: BTreeSet<NamedPartition> = known
        .topics
        .iter()
        .flat_map(|topic| topic.partitions.iter().map(move |one| (topic, one)))
        .filter(|(_, partition)| partition.leader_id >= 0)
        .filter_map(|(topic, partition)| Some((topic.name.clone()?, partition.partition_index)))
        .collect();
    // Topics may have been deleted since their offsets were committed.
    let asked = partitions.into_iter().filter(|one| led.contains(*one));
    let asked = asked.map(|one| (one.clone(), OffsetSpec::Latest)).collect();
    let ends = client
        .list_offsets(&asked, IsolationLevel::ReadUncommitted)
        .await?;
    Ok(Described {
        group,
        committed,
        owners,
        ends,
    })
}

/// Which member reads which partition, of a group of consumers.
fn owners(group: &DescribedGroup) -> BTreeMap<NamedPartition, usize> {
    let mut owners = BTreeMap::new();
    if group.protocol_type != "consumer" {
        return owners;
    }
    for (index, member) in group.members.iter().enumerate() {
        for partition in assigned(&member.member_assignment) {
            owners.insert(partition, index);
        }
    }
    owners
}

/// A consumer's partitions; none while the group rebalances, or if another kind of client wrote this.
fn assigned(assignment: &Bytes) -> Vec<NamedPartition> {
    let decoded = decode_versioned::<ConsumerProtocolAssignment>(assignment.clone());
    let topics = decoded.map(|decoded| decoded.assigned_partitions);
    topics
        .unwrap_or_default()
        .into_iter()
        .flat_map(|topic| {
            let name = topic.topic;
            let named = move |partition| (name.clone(), partition);
            topic.partitions.into_iter().map(named)
        })
        .collect()
}

struct Described {
    group: DescribedGroup,
    committed: BTreeMap<NamedPartition, CommittedOffset>,
    owners: BTreeMap<NamedPartition, usize>,
    ends: BTreeMap<NamedPartition, ListedOffset>,
}

/// What is known of a group's reading of one partition.
struct Row<'a> {
    partition: &'a NamedPartition,
    committed: Option<Offset>,
    end: Option<Offset>,
    member: Option<&'a DescribedGroupMember>,
}

impl Row<'_> {
    fn lag(&self) -> Option<i64> {
        Some(self.end?.saturating_sub(self.committed?))
    }
}

impl Described {
    fn rows(&self) -> Vec<Row<'_>> {
        let partitions: BTreeSet<_> = self.committed.keys().chain(self.owners.keys()).collect();
        let row = |partition| {
            let owner = self.owners.get(partition);
            Row {
                partition,
                committed: self.committed.get(partition).map(|one| one.offset),
                end: self.ends.get(partition).and_then(|listed| listed.offset),
                member: owner.and_then(|&index| self.group.members.get(index)),
            }
        };
        partitions.into_iter().map(row).collect()
    }

    fn text(&self, shows_members: bool) -> String {
        let group = &self.group;
        let table = match shows_members {
            true => self.members(),
            false => self.offsets(),
        };
        format!(
            "group {}, state {}, protocol {} {}, members {}\n{}\n",
            group.group_id,
            group.group_state,
            or_dash(&group.protocol_type),
            or_dash(&group.protocol_data),
            group.members.len(),
            table.render(),
        )
    }

    fn offsets(&self) -> Table {
        let mut table = Table::new(&[
            "TOPIC",
            "PARTITION",
            "COMMITTED",
            "END",
            "LAG",
            "MEMBER",
            "CLIENT",
            "HOST",
        ]);
        for row in self.rows() {
            table.row(vec![
                row.partition.0.clone(),
                row.partition.1.to_string(),
                output::or_dash(row.committed),
                output::or_dash(row.end),
                output::or_dash(row.lag()),
                output::or_dash(row.member.map(|member| &member.member_id)),
                output::or_dash(row.member.map(|member| &member.client_id)),
                output::or_dash(row.member.map(|member| &member.client_host)),
            ]);
        }
        table
    }

    fn members(&self) -> Table {
        let mut table = Table::new(&["MEMBER", "INSTANCE", "CLIENT", "HOST", "PARTITIONS"]);
        for member in &self.group.members {
            let partitions = assigned(&member.member_assignment);
            let partitions: Vec<String> = partitions
                .iter()
                .map(|(topic, partition)| format!("{topic}-{partition}"))
                .collect();
            table.row(vec![
                member.member_id.clone(),
                output::or_dash(member.group_instance_id.as_ref()),
                member.client_id.clone(),
                member.client_host.clone(),
                output::join(&partitions),
            ]);
        }
        table
    }

    fn json(&self) -> Value {
        let group = &self.group;
        let member = |member: &DescribedGroupMember| {
            let partition = |(topic, partition)| json!({ "topic": topic, "partition": partition });
            let partitions = assigned(&member.member_assignment)
                .into_iter()
                .map(partition);
            json!({
                "memberId": member.member_id,
                "groupInstanceId": member.group_instance_id,
                "clientId": member.client_id,
                "clientHost": member.client_host,
                "partitions": partitions.collect::<Vec<_>>(),
            })
        };
        let offset = |row: Row<'_>| {
            json!({
                "topic": row.partition.0,
                "partition": row.partition.1,
                "committedOffset": row.committed,
                "endOffset": row.end,
                "lag": row.lag(),
                "memberId": row.member.map(|member| &member.member_id),
            })
        };
        json!({
            "groupId": group.group_id,
            "state": group.group_state,
            "protocolType": group.protocol_type,
            "protocol": group.protocol_data,
            "members": group.members.iter().map(member).collect::<Vec<_>>(),
            "offsets": self.rows().into_iter().map(offset).collect::<Vec<_>>(),
        })
    }
}

fn or_dash(text: &str) -> &str {
    if text.is_empty() { "-" } else { text }
}

#[cfg(test)]
mod tests {
    use super::*;
    use protocol::stored::consumer_protocol_assignment::TopicPartition;
    use protocol::stored::frame::encode_versioned;

    fn described() -> Described {
        let assignment = ConsumerProtocolAssignment {
            assigned_partitions: vec![TopicPartition {
                topic: "t".to_owned(),
                partitions: vec![0, 1],
            }],
            user_data: None,
        };
        let member = DescribedGroupMember {
            member_id: "m".to_owned(),
            client_id: "c".to_owned(),
            client_host: "/h".to_owned(),
            member_assignment: encode_versioned(&assignment, 1).expect("an assignment"),
            ..DescribedGroupMember::default()
        };
        let group = DescribedGroup {
            group_id: "g".to_owned(),
            group_state: "Stable".to_owned(),
            protocol_type: "consumer".to_owned(),
            protocol_data: "range".to_owned(),
            members: vec![member],
            ..DescribedGroup::default()
        };
        let end = ListedOffset {
            offset: Some(10),
            timestamp: None,
            leader_epoch: 0,
        };
        let partition = |topic: &str, index| (topic.to_owned(), index);
        Described {
            owners: owners(&group),
            group,
            committed: BTreeMap::from([
                (partition("gone", 3), CommittedOffset::at(5)),
                (partition("t", 0), CommittedOffset::at(4)),
            ]),
            ends: BTreeMap::from([(partition("t", 0), end), (partition("t", 1), end)]),
        }
    }

    #[test]
    fn every_partition_that_is_committed_or_assigned_has_a_row() {
        let expected = "\
group g, state Stable, protocol consumer range, members 1
TOPIC  PARTITION  COMMITTED  END  LAG  MEMBER  CLIENT  HOST
gone           3          5    -    -  -       -       -
t              0          4   10    6  m       c       /h
t              1          -   10    -  m       c       /h

";
        assert_eq!(described().text(false), expected);
        let json = described().json();
        assert_eq!(json["offsets"][1]["lag"], 6);
        assert_eq!(json["members"][0]["partitions"][1]["partition"], 1);
    }

    #[test]
    fn members_are_shown_with_what_they_read() {
        let text = described().text(true);
        assert!(
            text.ends_with("m       -         c       /h    t-0,t-1\n\n"),
            "{text}"
        );
    }

    #[test]
    fn an_assignment_that_cannot_be_read_is_empty() {
        assert_eq!(assigned(&Bytes::from_static(b"\x00\x01\xff")), Vec::new());
        assert_eq!(assigned(&Bytes::new()), Vec::new());
    }
}
