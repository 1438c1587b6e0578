//! S27, S28: metadata is what the committed log says, on every node and in every snapshot.

use super::State;
use super::events::QuorumSeen;
use crate::checkers::CheckerId;
use std::collections::BTreeMap;
use types::{NodeId, Offset};

/// What the checkers remember of the metadata log.
#[derive(Debug, Default)]
pub struct Metadata {
    /// Hashes of the metadata by the offset behind its last record.
    hashes: BTreeMap<Offset, u64>,
    quorums: BTreeMap<NodeId, QuorumSeen>,
    /// The largest committed offset that any node knew.
    committed: Offset,
}

impl Metadata {
    /// A node died: what it knew of the committed offset it has to learn again.
    pub fn died(&mut self) {
        self.quorums.clear();
    }

    /// A node's disk was set back: it writes another end of the metadata now.
    pub fn set_back(&mut self, node: NodeId) {
        self.quorums.remove(&node);
        self.hashes.clear();
    }
}

impl State {
    pub(super) fn quorum(&mut self, seen: &QuorumSeen) {
        let object = format!("quorum of node {}", seen.node);
        let start = seen.log_start;
        let has_snapshot = start == 0 || seen.snapshots.iter().any(|&end| end >= start);
        self.demand(has_snapshot, CheckerId::S27, &object, || {
            format!(
                "the log starts at {start}, snapshots end at {:?}",
                seen.snapshots
            )
        });
        let high_watermark = seen.high_watermark.unwrap_or(0);
        self.demand(
            high_watermark <= seen.log_end,
            CheckerId::S28,
            &object,
            || {
                format!(
                    "committed {high_watermark} is beyond the log's end {}",
                    seen.log_end
                )
            },
        );
        let is_durable = !seen.is_alone || high_watermark <= seen.flushed.max(start);
        self.demand(is_durable, CheckerId::S28, &object, || {
            format!(
                "committed {high_watermark} is beyond what is flushed, {}",
                seen.flushed
            )
        });
        let before = self.metadata.quorums.insert(seen.node, seen.clone());
        if let Some(before) = before {
            let old = before.high_watermark.unwrap_or(0);
            let is_known = seen.high_watermark.is_some();
            self.demand(
                !is_known || old <= high_watermark,
                CheckerId::S28,
                &object,
                || format!("committed went back from {old} to {high_watermark}"),
            );
            self.demand(before.log_start <= start, CheckerId::S27, &object, || {
                format!(
                    "the log start went back from {} to {start}",
                    before.log_start
                )
            });
            self.demand(
                before.leader_epoch <= seen.leader_epoch,
                CheckerId::S28,
                &object,
                || {
                    format!(
                        "epoch {} follows epoch {}",
                        seen.leader_epoch, before.leader_epoch
                    )
                },
            );
        }
        self.metadata.committed = self.metadata.committed.max(high_watermark);
    }

    pub(super) fn image_seen(&mut self, node: NodeId, offset: Offset, hash: u64) {
        let committed = self.metadata.committed;
        let object = format!("metadata of node {node}");
        self.demand(offset <= committed, CheckerId::S28, &object, || {
            format!("it acts on metadata up to {offset}; committed is {committed}")
        });
        let first = *self.metadata.hashes.entry(offset).or_insert(hash);
        self.demand(first == hash, CheckerId::S28, &object, || {
            format!("its metadata up to {offset} is not what it was elsewhere or before")
        });
    }

    pub(super) fn snapshot_seen(&mut self, offset: Offset, hash: u64) {
        let first = *self.metadata.hashes.entry(offset).or_insert(hash);
        self.demand(first == hash, CheckerId::S27, "snapshot", || {
            format!("the snapshot up to {offset} is not the metadata that nodes had there")
        });
    }
}
