//! Who looks at the brokers' machines while they run: puts what changed into the trace, and keeps the last of each.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::sync::Arc;

use broker::observer::{FetchAnswered, Observer, ProduceAnswered};
use replica::{Durability, ReplicaView};
use runtime::simulated::trace::{self, Value};
use types::{Offset, TopicPartition};

/// What was last seen of a replica.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct ReplicaSeen {
    /// The first offset that may be read.
    pub log_start: Offset,
    /// The end of what is flushed.
    pub flushed: Offset,
    /// The end of what is written.
    pub log_end: Offset,
    /// The end of what is visible.
    pub high_watermark: Offset,
    /// The end of what is visible to readers of committed data.
    pub last_stable: Offset,
    /// Whether acknowledgements wait for the flush.
    pub is_flushed_class: bool,
}

thread_local! {
    static SEEN: RefCell<BTreeMap<(usize, TopicPartition), ReplicaSeen>> = RefCell::default();
}

/// Looks at the broker with one place in the plan.
#[derive(Clone, Copy, Debug)]
pub struct Watcher {
    broker: usize,
}

impl Watcher {
    /// One for the broker at `broker` of the plan.
    pub fn new(broker: usize) -> Arc<Watcher> {
        Arc::new(Watcher { broker })
    }
}

/// What was last seen of the replicas of a broker.
pub fn replicas(broker: usize) -> BTreeMap<TopicPartition, ReplicaSeen> {
    SEEN.with_borrow(|seen| {
        let of_broker = seen.iter().filter(|((of, _), _)| *of == broker);
        of_broker
            .map(|((_, partition), seen)| (*partition, *seen))
            .collect()
    })
}

/// Forgets everything, for another run.
pub fn begin() {
    SEEN.take();
}

impl Observer for Watcher {
    fn replica(&self, partition: TopicPartition, view: &ReplicaView<'_>) {
        let now = ReplicaSeen {
            log_start: view.log_start,
            flushed: view.flushed,
            log_end: view.log_end,
            high_watermark: view.high_watermark,
            last_stable: view.last_stable,
            is_flushed_class: view.durability == Durability::Flushed,
        };
        let before = SEEN.with_borrow_mut(|seen| seen.insert((self.broker, partition), now));
        if before != Some(now) {
            let topic = partition.topic_id.to_string();
            trace::emit(
                "replica",
                &[
                    ("topic", Value::Text(&topic)),
                    ("partition", Value::Int(partition.partition.into())),
                    ("start", Value::Int(now.log_start)),
                    ("flushed", Value::Int(now.flushed)),
                    ("end", Value::Int(now.log_end)),
                    ("high", Value::Int(now.high_watermark)),
                    ("stable", Value::Int(now.last_stable)),
                ],
            );
        }
    }

    fn produce_answered(&self, answer: &ProduceAnswered<'_>) {
        let (offset, error) = match answer.result {
            Ok(done) => (done.base_offset, 0),
            Err(error) => (-1, error as i64),
        };
        trace::emit(
            "produced",
            &[
                ("partition", Value::Int(answer.partition.partition.into())),
                ("offset", Value::Int(offset)),
                ("error", Value::Int(error)),
            ],
        );
    }

    fn fetch_answered(&self, answer: &FetchAnswered) {
        trace::emit(
            "fetched",
            &[
                ("partition", Value::Int(answer.partition.partition.into())),
                ("from", Value::Int(answer.fetch_offset)),
                ("bytes", Value::Int(answer.length_bytes as i64)),
                ("high", Value::Int(answer.high_watermark)),
                ("error", Value::Int(answer.error as i64)),
            ],
        );
    }
}
