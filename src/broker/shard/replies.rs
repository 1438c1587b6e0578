//! Who waits for which answer of a machine.

use std::collections::{BTreeMap, VecDeque};

use replica::{DeleteRecordsError, ProduceOk};
use runtime::sync::oneshot;
use types::{Offset, PartitionIndex};

use super::{Event, ProduceOutcome};

/// Who gets a machine's answer.
pub(super) enum Sink {
    /// One item of a Produce request.
    Produce { request: u64, position: usize },
    /// An append of the coordinator of this partition of `__consumer_offsets`.
    Coordinator {
        partition: PartitionIndex,
        append: u64,
    },
}

/// The answer to a DeleteRecords.
pub(super) type DeleteRecordsSender = oneshot::Sender<Result<Offset, DeleteRecordsError>>;

struct Request {
    outcomes: Vec<Option<ProduceOutcome>>,
    missing: usize,
    sender: oneshot::Sender<Vec<ProduceOutcome>>,
}

/// Everything that waits on the machines of one shard.
#[derive(Default)]
pub(super) struct Replies {
    next: u64,
    sinks: BTreeMap<u64, Sink>,
    requests: BTreeMap<u64, Request>,
    deletions: BTreeMap<u64, DeleteRecordsSender>,
}

impl Replies {
    fn number(&mut self) -> u64 {
        self.next += 1;
        self.next
    }

    /// Begins a Produce request of `count` items.
    pub fn begin(&mut self, count: usize, sender: oneshot::Sender<Vec<ProduceOutcome>>) -> u64 {
        let number = self.number();
        let outcomes = std::iter::repeat_with(|| None).take(count).collect();
        self.requests.insert(
            number,
            Request {
                outcomes,
                missing: count,
                sender,
            },
        );
        number
    }

    /// A token for the machine whose answer goes to `sink`.
    pub fn park(&mut self, sink: Sink) -> u64 {
        let token = self.number();
        self.sinks.insert(token, sink);
        token
    }

    /// A token for a DeleteRecords.
    pub fn park_deletion(&mut self, sender: DeleteRecordsSender) -> u64 {
        let token = self.number();
        self.deletions.insert(token, sender);
        token
    }

    /// Passes on what a machine answered.
    pub fn answer(&mut self, token: u64, outcome: ProduceOutcome, events: &mut VecDeque<Event>) {
        // With acks=0 the request was answered when its batch was taken in.
        if let Some(sink) = self.sinks.remove(&token) {
            self.answer_sink(sink, outcome, events);
        }
    }

    /// Answers a batch with acks=0 that the machine has taken in.
    pub fn answer_unless_done(&mut self, token: u64) {
        let Some(Sink::Produce { request, position }) = self.sinks.remove(&token) else {
            return;
        };
        let taken_in = ProduceOk {
            base_offset: -1,
            log_append_time: None,
            log_start_offset: -1,
        };
        self.fill(request, position, Ok(taken_in));
    }

    pub fn answer_sink(
        &mut self,
        sink: Sink,
        outcome: ProduceOutcome,
        events: &mut VecDeque<Event>,
    ) {
        match sink {
            Sink::Produce { request, position } => self.fill(request, position, outcome),
            Sink::Coordinator { partition, append } => {
                events.push_back(Event::CoordinatorAppend {
                    partition,
                    append,
                    outcome,
                });
            }
        }
    }

    fn fill(&mut self, number: u64, position: usize, outcome: ProduceOutcome) {
        let request = self
            .requests
            .get_mut(&number)
            .expect("a request lives until all is there");
        let place = &mut request.outcomes[position];
        assert!(place.is_none(), "an item is answered once");
        *place = Some(outcome);
        request.missing -= 1;
        if request.missing > 0 {
            return;
        }
        let request = self.requests.remove(&number).expect("it was just there");
        let outcomes = request
            .outcomes
            .into_iter()
            .map(|outcome| outcome.expect("none is missing"));
        // The connection may have gone away; then nobody needs the answer.
        let _ = request.sender.send(outcomes.collect());
    }

    pub fn answer_deletion(&mut self, token: u64, result: Result<Offset, DeleteRecordsError>) {
        let sender = self
            .deletions
            .remove(&token)
            .expect("a deletion is answered once");
        let _ = sender.send(result);
    }
}
