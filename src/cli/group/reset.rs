//! `millrace group reset-offsets`.

use std::collections::BTreeMap;

use anyhow::{Context, Result, bail};
use client::Client;
use client::offsets::{
    CommittedOffset, Committer, IsolationLevel, ListedOffset, NamedPartition, OffsetSpec,
};
use serde_json::json;
use types::{Offset, PartitionIndex};

use crate::cluster::existing_topics;
use crate::output::{self, Table};

/// What `group reset-offsets` is told.
#[derive(clap::Args)]
pub(super) struct Arguments {
    /// The group's id.
    group: String,
    /// A topic, or some of its partitions: `t` or `t:0,2`. May be repeated.
    #[arg(long = "topic", short = 't', value_name = "TOPIC[:PARTITION,..]", value_parser = scope)]
    topics: Vec<(String, Vec<PartitionIndex>)>,
    /// All partitions for which the group has offsets.
    #[arg(long, conflicts_with = "topics")]
    all_topics: bool,
    #[command(flatten)]
    target: Target,
    /// Do it; without this, only show what would be done.
    #[arg(long)]
    execute: bool,
}

/// Where offsets are moved to.
#[derive(clap::Args, Default)]
#[group(required = true, multiple = false)]
struct Target {
    /// To the first record.
    #[arg(long)]
    to_earliest: bool,
    /// To the end.
    #[arg(long)]
    to_latest: bool,
    /// To this offset, or the nearest there is.
    #[arg(long, value_name = "OFFSET")]
    to_offset: Option<Offset>,
    /// By so many records, back if negative, as far as there are any.
    #[arg(long, value_name = "RECORDS", allow_negative_numbers = true)]
    shift_by: Option<i64>,
    /// To the first record at or after this time, in milliseconds since 1970; to the end if there is none.
    #[arg(long, value_name = "MS")]
    to_timestamp: Option<i64>,
}

fn scope(text: &str) -> Result<(String, Vec<PartitionIndex>), String> {
    // Topics' names have no colons.
    let (topic, partitions) = match text.split_once(':') {
        None => (text, Vec::new()),
        Some((topic, list)) => {
            let parsed: Result<Vec<_>, _> = list.split(',').map(str::parse).collect();
            let parsed = parsed.map_err(|_| "expected TOPIC or TOPIC:PARTITION,..".to_owned())?;
            (topic, parsed)
        }
    };
    match topic {
        "" => Err("expected the name of a topic".to_owned()),
        topic => Ok((topic.to_owned(), partitions)),
    }
}

/// What is known of one partition, and where its offset goes.
struct Move {
    committed: Option<Offset>,
    start: Offset,
    end: Offset,
    new: Offset,
}

/// Resets, or shows what would be done.
pub(super) async fn run(client: &Client, asked: &Arguments, is_json: bool) -> Result<()> {
    let id = &asked.group;
    let found = super::find(client, id).await;
    if let Some(group) = found.with_context(|| format!("group {id}"))? {
        super::must_be_empty(&group)?;
    }
    let committed = client.committed_offsets(id, None, false).await?;
    let partitions = partitions(client, asked, &committed).await?;
    let moves = plan(client, &asked.target, &partitions, &committed).await?;
    if asked.execute {
        let offsets = moves
            .iter()
            .map(|(partition, one)| (partition.clone(), CommittedOffset::at(one.new)))
            .collect();
        client
            .commit_offsets(id, &Committer::outsider(), &offsets)
            .await
            .with_context(|| format!("group {id}"))?;
    }
    show(&moves, asked.execute, is_json)
}

async fn partitions(
    client: &Client,
    asked: &Arguments,
    committed: &BTreeMap<NamedPartition, CommittedOffset>,
) -> Result<Vec<NamedPartition>> {
    if asked.all_topics {
        if committed.is_empty() {
            bail!("group {} has no offsets", asked.group);
        }
        return Ok(committed.keys().cloned().collect());
    }
    if asked.topics.is_empty() {
        bail!("--topic or --all-topics says which offsets to move");
    }
    let names: Vec<String> = asked.topics.iter().map(|(name, _)| name.clone()).collect();
    let topics = existing_topics(client, &names).await?;
    let mut partitions = Vec::new();
    for (name, wanted) in &asked.topics {
        let there = topics[name].partitions.iter();
        let there: Vec<PartitionIndex> = there.map(|one| one.partition_index).collect();
        if let Some(missing) = wanted.iter().find(|index| !there.contains(index)) {
            bail!("topic {name} has no partition {missing}");
        }
        let chosen = if wanted.is_empty() { &there } else { wanted };
        partitions.extend(chosen.iter().map(|&index| (name.clone(), index)));
    }
    partitions.sort();
    partitions.dedup();
    Ok(partitions)
}

async fn plan(
    client: &Client,
    target: &Target,
    partitions: &[NamedPartition],
    committed: &BTreeMap<NamedPartition, CommittedOffset>,
) -> Result<BTreeMap<NamedPartition, Move>> {
    let listed = async |spec| {
        let asked = partitions.iter().map(|one| (one.clone(), spec)).collect();
        client
            .list_offsets(&asked, IsolationLevel::ReadUncommitted)
            .await
    };
    let starts = listed(OffsetSpec::Earliest).await?;
    let ends = listed(OffsetSpec::Latest).await?;
    let by_time = match target.to_timestamp {
        Some(millis) => listed(OffsetSpec::Timestamp(millis)).await?,
        None => BTreeMap::new(),
    };
    let offset_of = |offsets: &BTreeMap<NamedPartition, ListedOffset>, partition| {
        offsets.get(partition).and_then(|listed| listed.offset)
    };
    let mut moves = BTreeMap::new();
    for partition in partitions {
        let (topic, index) = partition;
        let named = || format!("the answer lacks offsets of {topic}-{index}");
        let start = offset_of(&starts, partition).with_context(named)?;
        let end = offset_of(&ends, partition).with_context(named)?;
        let committed = committed.get(partition).map(|one| one.offset);
        let at_time = offset_of(&by_time, partition);
        let new = target
            .offset(committed, at_time, start, end)
            .with_context(|| format!("{topic}-{index}"))?;
        let moved = Move {
            committed,
            start,
            end,
            new,
        };
        moves.insert(partition.clone(), moved);
    }
    Ok(moves)
}

impl Target {
    /// Where a partition's offset goes, within what there is.
    fn offset(
        &self,
        committed: Option<Offset>,
        at_time: Option<Offset>,
        start: Offset,
        end: Offset,
    ) -> Result<Offset> {
        let wanted = if self.to_earliest {
            start
        } else if self.to_latest {
            end
        } else if let Some(offset) = self.to_offset {
            offset
        } else if let Some(distance) = self.shift_by {
            let Some(committed) = committed else {
                bail!("--shift-by: the group has no offset to shift");
            };
            committed.saturating_add(distance)
        } else {
            at_time.unwrap_or(end)
        };
        Ok(wanted.clamp(start, end.max(start)))
    }
}

fn show(moves: &BTreeMap<NamedPartition, Move>, is_done: bool, is_json: bool) -> Result<()> {
    if is_json {
        let moved = |((topic, partition), one): (&NamedPartition, &Move)| {
            json!({
                "topic": topic,
                "partition": partition,
                "previousOffset": one.committed,
                "newOffset": one.new,
                "startOffset": one.start,
                "endOffset": one.end,
            })
        };
        let offsets: Vec<_> = moves.iter().map(moved).collect();
        return output::json(&json!({ "executed": is_done, "offsets": offsets }));
    }
    let mut table = Table::new(&["TOPIC", "PARTITION", "COMMITTED", "NEW", "START", "END"]);
    for ((topic, partition), one) in moves {
        table.row(vec![
            topic.clone(),
            partition.to_string(),
            output::or_dash(one.committed),
            one.new.to_string(),
            one.start.to_string(),
            one.end.to_string(),
        ]);
    }
    output::print(&table.render())?;
    if !is_done {
        output::line("nothing was changed: --execute does it")?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_scope_is_a_topic_or_some_of_its_partitions() {
        let table = [
            ("t", Some(("t", vec![]))),
            ("t:0,2", Some(("t", vec![0, 2]))),
            ("t:", None),
            (":1", None),
            ("t:a", None),
        ];
        for (text, expected) in table {
            let expected = expected.map(|(topic, partitions)| (topic.to_owned(), partitions));
            assert_eq!(scope(text).ok(), expected, "{text}");
        }
    }

    #[test]
    fn a_new_offset_lies_within_what_there_is() {
        let to = |offset| Target {
            to_offset: Some(offset),
            ..Target::default()
        };
        let by = |distance| Target {
            shift_by: Some(distance),
            ..Target::default()
        };
        let earliest = Target {
            to_earliest: true,
            ..Target::default()
        };
        let latest = Target {
            to_latest: true,
            ..Target::default()
        };
        let at_time = Target {
            to_timestamp: Some(5),
            ..Target::default()
        };
        let table = [
            (&earliest, Some(15), None, Some(10)),
            (&latest, Some(15), None, Some(20)),
            (&to(12), None, None, Some(12)),
            (&to(5), None, None, Some(10)),
            (&to(25), None, None, Some(20)),
            (&by(-2), Some(15), None, Some(13)),
            (&by(i64::MAX), Some(15), None, Some(20)),
            (&by(1), None, None, None),
            (&at_time, None, Some(17), Some(17)),
            (&at_time, None, None, Some(20)),
        ];
        for (index, (target, committed, at_time, expected)) in table.into_iter().enumerate() {
            let found = target.offset(committed, at_time, 10, 20).ok();
            assert_eq!(found, expected, "row {index}");
        }
    }
}
