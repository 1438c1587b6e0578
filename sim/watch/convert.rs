//! What the broker's machines show, in the checkers' words.

use std::collections::BTreeMap;

use coordinator::groups::{CoordinatorView, GroupState, GroupView};
use protocol::records::BatchHeader;
use replica::{ReplicaView, RoleView};
use types::Offset;

use super::Watch;
use crate::checkers::state::{Batch, Death, GroupSeen, ProducerSeen, Recovered, ReplicaSeen, Sent};
use crate::history::{Isolation, Key};
use crate::world::logs::{self, Side};

impl Watch {
    /// What lies in a log that was just opened, unless somebody has damaged it.
    pub(super) fn batches_of(
        &self,
        number: u64,
        key: Key,
        view: &ReplicaView<'_>,
    ) -> Option<Vec<Batch>> {
        if !self.starts(view.node).contains_key(&key) {
            return None;
        }
        let wanted = BTreeMap::from([(key, view.log_start)]);
        let log = logs::read(number, Side::Cached, &wanted).remove(&key)?;
        let batches = log.batches.iter().map(batch);
        let is_in = |batch: &Batch| view.log_start < batch.end() && batch.end() <= view.log_end;
        Some(batches.filter(is_in).collect())
    }
}

pub(super) fn recovered(key: Key, view: &ReplicaView<'_>, death: Death) -> Recovered {
    Recovered {
        node: view.node,
        key,
        death,
        log_start: view.log_start,
        log_end: view.log_end,
        batches: None,
        is_fenced: false,
    }
}

pub(super) fn window(entry: &replica::ProducerEntry) -> Vec<(i32, Offset)> {
    let batches = entry.batches().iter();
    batches
        .map(|range| (range.last_sequence, range.last_offset))
        .collect()
}

pub(super) fn seen(key: Key, view: &ReplicaView<'_>, with_producers: bool) -> ReplicaSeen {
    let producers = with_producers.then(|| {
        let entries = view.producers.entries();
        entries
            .map(|(producer_id, entry)| ProducerSeen {
                producer_id,
                producer_epoch: entry.producer_epoch,
                last_sequence: (entry.last_sequence() >= 0).then(|| entry.last_sequence()),
                last_offset: entry.last_offset(),
                window: Some(window(entry)),
            })
            .collect()
    });
    ReplicaSeen {
        node: view.node,
        key,
        leads: match view.role {
            RoleView::Leader { epoch, .. } => Some(epoch),
            _ => None,
        },
        log_start: view.log_start,
        flushed: view.flushed,
        log_end: view.log_end,
        assigned_end: view.assigned_end,
        high_watermark: view.high_watermark,
        last_stable: view.last_stable,
        epochs: view
            .epochs
            .entries()
            .map(|entry| (entry.epoch, entry.start_offset))
            .collect(),
        producers,
    }
}

pub(super) fn batch(header: &BatchHeader) -> Batch {
    Batch {
        base_offset: header.base_offset,
        last_offset: header.last_offset(),
        leader_epoch: header.partition_leader_epoch,
        crc: header.crc,
        producer_id: header.producer_id,
        producer_epoch: header.producer_epoch,
        base_sequence: header.base_sequence,
        max_timestamp: header.max_timestamp,
        is_control: header.is_control(),
        attributes: header.attributes,
        size_bytes: header.size_bytes() as u64,
    }
}

pub(super) fn sent(header: &BatchHeader) -> Sent {
    Sent {
        crc: header.crc,
        attributes: header.attributes,
    }
}

pub(super) fn isolation(isolation: replica::Isolation) -> Isolation {
    match isolation {
        replica::Isolation::ReadUncommitted => Isolation::ReadUncommitted,
        replica::Isolation::ReadCommitted => Isolation::ReadCommitted,
    }
}

pub(super) fn group_seen(
    group: GroupView<'_>,
    coordinator: CoordinatorView<'_>,
    topics: &BTreeMap<String, types::Uuid>,
) -> GroupSeen {
    let offsets = coordinator.offsets(group.group_id());
    let is_stable = group.state() == GroupState::Stable;
    let members = group.members().filter(|_| is_stable);
    let owners = members.map(|member| {
        let assigned = client::assigned_partitions(member.assignment().clone()).unwrap_or_default();
        let keys = assigned.into_iter().filter_map(|(topic, partition)| {
            let topic = *topics.get(&topic)?;
            Some(Key { topic, partition })
        });
        (member.member_id().to_owned(), keys.collect())
    });
    GroupSeen {
        group: group.group_id().to_owned(),
        generation: group.generation_id(),
        is_stable,
        has_members: group.members().next().is_some(),
        subscribed: topics
            .iter()
            .filter(|(name, _)| group.is_subscribed_to(name))
            .map(|(_, id)| *id)
            .collect(),
        owners: owners.collect(),
        offsets: offsets
            .map(|(_, partition, committed)| {
                let topic = committed.topic_id;
                (Key { topic, partition }, committed.offset)
            })
            .collect(),
    }
}
