//! Random plays: whatever the order of writes, flushes, failures, leadership and crashes, nothing is said that is not true.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;

use crate::transcript_tests::Play;
use crate::*;

#[derive(Clone, Debug)]
enum Step {
    /// The next batch of a producer, or its newest unanswered one again.
    Produce {
        producer: i64,
        acks: u8,
        records: i32,
    },
    Write(u8),
    BeginFlush,
    EndFlush,
    NoSpace,
    NewEpoch {
        lost_first: bool,
    },
    Kill,
    PowerCut,
    Pass(u8),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        8 => (0..3i64, 0..3u8, 1..4i32)
            .prop_map(|(producer, acks, records)| Step::Produce { producer, acks, records }),
        4 => (1..4u8).prop_map(Step::Write),
        3 => Just(Step::BeginFlush),
        3 => Just(Step::EndFlush),
        1 => Just(Step::NoSpace),
        1 => any::<bool>().prop_map(|lost_first| Step::NewEpoch { lost_first }),
        1 => Just(Step::Kill),
        1 => Just(Step::PowerCut),
        1 => (0..40u8).prop_map(Step::Pass),
    ]
}

/// One producer as a client: one batch at a time, retried until it is acknowledged.
#[derive(Default)]
struct Client {
    next_sequence: i32,
    pending: Option<(i32, i32)>,
}

struct Model {
    play: Play,
    durability: Durability,
    clients: BTreeMap<i64, Client>,
    next_token: u64,
    epoch: i32,
    /// Producer, sequence and acks of each open request.
    open: BTreeMap<u64, (i64, i32, Acks)>,
    /// Producer and sequence by the offset at which it was acknowledged with acks=all.
    acknowledged: BTreeMap<i64, (i64, i32)>,
    /// Producer and sequence of what was ever shown, by offset.
    shown: BTreeMap<i64, (i64, i32)>,
    high_watermark: i64,
}

impl Model {
    fn new(durability: Durability) -> Model {
        let config = ReplicaConfig {
            durability,
            min_insync_replicas: 1,
            producer_id_expiration_ms: i64::MAX,
            producer_id_expiration_check_interval_ms: i64::MAX,
        };
        let mut model = Model {
            play: Play::new(config),
            durability,
            clients: BTreeMap::new(),
            next_token: 0,
            epoch: 0,
            open: BTreeMap::new(),
            acknowledged: BTreeMap::new(),
            shown: BTreeMap::new(),
            high_watermark: 0,
        };
        model.lead();
        model
    }

    fn lead(&mut self) {
        self.epoch += 1;
        let (epoch, replicas, isr) = (self.epoch, vec![1], vec![1]);
        self.play.step(Input::BecomeLeader(Leadership {
            epoch,
            replicas,
            isr,
        }));
        self.after();
    }

    fn act(&mut self, step: Step) {
        match step {
            Step::Produce {
                producer,
                acks,
                records,
            } => self.produce(producer, acks, records),
            Step::Write(batches) => self.play.write(usize::from(batches)),
            Step::BeginFlush => self.play.begin_flush(),
            Step::EndFlush if self.play.is_flushing() => self.play.end_flush(),
            Step::EndFlush => {}
            Step::NoSpace if self.play.is_writing() => self.play.fail(AppendError::NoSpace),
            Step::NoSpace => {}
            Step::NewEpoch { lost_first } => {
                if lost_first {
                    self.play.step(Input::LeadershipLost);
                }
                self.lead();
            }
            Step::Kill => self.crash(self.play.end()),
            Step::PowerCut => self.crash(self.play.flushed()),
            Step::Pass(millis) => self.play.pass(i64::from(millis)),
        }
        self.after();
    }

    fn produce(&mut self, producer: i64, acks: u8, records: i32) {
        let client = self.clients.entry(producer).or_default();
        let (sequence, records) = *client
            .pending
            .get_or_insert((client.next_sequence, records));
        let acks = [Acks::None, Acks::Leader, Acks::All][usize::from(acks)];
        self.next_token += 1;
        let batch = BatchSummary {
            producer_id: producer,
            producer_epoch: 0,
            base_sequence: sequence,
            ..BatchSummary::plain(records, 1, 70)
        };
        self.open
            .insert(self.next_token, (producer, sequence, acks));
        self.play.produce(self.next_token, acks, 30, batch);
    }

    /// Nobody hears of open requests again; what lay above `survives` is gone. In class replicated what was acknowledged or
    /// shown above it is lost, as that class says, and its client begins anew behind what is left.
    fn crash(&mut self, survives: i64) {
        self.open.clear();
        self.play.restart(survives, &mut String::new());
        self.high_watermark = 0;
        let end = self.play.end();
        if self.durability != Durability::Flushed {
            self.acknowledged.retain(|&offset, _| offset < end);
            self.shown.retain(|&offset, _| offset < end);
            for (&producer, client) in &mut self.clients {
                let last = self.play.last_sequence(producer);
                client.next_sequence = last + 1;
                client.pending = None;
            }
        }
        self.lead();
    }

    /// Looks at what was said and shown.
    fn after(&mut self) {
        self.play.replica().check();
        for action in self.play.take_actions() {
            match action {
                Action::Reply { token, result } => self.replied(token, result),
                Action::HighWatermark { offset } => {
                    assert!(offset > self.high_watermark, "the high watermark went back");
                    self.high_watermark = offset;
                }
                _ => {}
            }
        }
        let view = self.play.replica().view();
        assert!(
            view.high_watermark <= view.log_end,
            "what is not written is shown"
        );
        if self.durability == Durability::Flushed {
            assert!(
                view.high_watermark <= self.play.flushed(),
                "what is not flushed is shown"
            );
        }
        self.compare_shown(view.high_watermark);
        for (offset, said) in &self.acknowledged {
            let held = self.play.at(*offset);
            assert_eq!(
                held.as_ref(),
                Some(said),
                "an acknowledged batch is not at {offset}"
            );
        }
    }

    fn compare_shown(&mut self, high_watermark: i64) {
        let mut seen = BTreeSet::new();
        for (offset, batch) in self.play.batches() {
            assert!(seen.insert(batch), "{batch:?} is in the log twice");
            if offset < high_watermark {
                let before = self.shown.insert(offset, batch);
                assert!(
                    before.is_none_or(|before| before == batch),
                    "offset {offset} changed"
                );
            }
        }
        let lost = self
            .shown
            .keys()
            .find(|&&offset| self.play.at(offset).is_none());
        assert_eq!(lost, None, "what was shown is gone");
    }

    fn replied(&mut self, token: u64, result: Result<ProduceOk, ProduceError>) {
        let open = self.open.remove(&token);
        let (producer, sequence, acks) = open.expect("each request is answered at most once");
        let ok = match result {
            Ok(ok) => ok,
            Err(error @ ProduceError::Sequence(_)) => panic!("a client in order hears: {error}"),
            Err(_) => return,
        };
        assert_ne!(acks, Acks::None, "acks=0 is not answered");
        let held = self.play.at(ok.base_offset);
        assert_eq!(
            held,
            Some((producer, sequence)),
            "the answer names a wrong offset"
        );
        if acks == Acks::All {
            let high_watermark = self.play.replica().view().high_watermark;
            assert!(
                ok.base_offset < high_watermark,
                "acknowledged before it was committed"
            );
            self.acknowledged
                .insert(ok.base_offset, (producer, sequence));
        }
        let client = self.clients.entry(producer).or_default();
        // acks=1 promises nothing over a crash: only a committed answer lets the client go on.
        if acks == Acks::All
            && let Some((pending, records)) = client.pending
            && pending == sequence
        {
            client.next_sequence = pending + records;
            client.pending = None;
        }
    }

    /// Once everything is written and flushed nobody waits any more.
    fn settle(&mut self) {
        if self.play.is_flushing() {
            self.play.end_flush();
        }
        self.play.write(usize::MAX);
        self.play.begin_flush();
        self.play.end_flush();
        self.after();
        let view = self.play.replica().view();
        assert_eq!(view.parked, 0, "requests wait for nothing");
        assert_eq!(
            view.high_watermark, view.assigned_end,
            "something is never shown"
        );
        let unanswered = self.open.values().find(|(.., acks)| *acks != Acks::None);
        assert_eq!(unanswered, None, "a request is never answered");
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 600, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn nothing_untrue_is_said_in_class_flushed(steps in prop::collection::vec(step(), 1..80)) {
        let mut model = Model::new(Durability::Flushed);
        steps.into_iter().for_each(|step| model.act(step));
        model.settle();
    }

    #[test]
    fn nothing_untrue_is_said_in_class_replicated(steps in prop::collection::vec(step(), 1..80)) {
        let mut model = Model::new(Durability::Replicated { flush_messages: 4, flush_ms: Some(20) });
        steps.into_iter().for_each(|step| model.act(step));
        model.settle();
    }
}
