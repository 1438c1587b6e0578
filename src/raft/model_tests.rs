//! Random plays: whatever the order of writes, flushes, failures and crashes, what is committed stays, and every epoch is led
//! once.

use std::collections::BTreeMap;

use proptest::prelude::*;
use types::Limits;

use crate::transcript_tests::Play;
use crate::*;

#[derive(Clone, Debug)]
enum Step {
    Persisted,
    Propose {
        stale: bool,
        records: i32,
        bytes: u32,
    },
    Write(u8),
    BeginFlush,
    EndFlush,
    NoSpace,
    NoSpaceSingle,
    SnapshotWritten,
    StartMoved,
    Pass(u16),
    Kill,
    PowerCut,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        6 => Just(Step::Persisted),
        6 => (prop::bool::weighted(0.1), 1..4i32, 1..900u32)
            .prop_map(|(stale, records, bytes)| Step::Propose { stale, records, bytes }),
        5 => (1..4u8).prop_map(Step::Write),
        4 => Just(Step::BeginFlush),
        4 => Just(Step::EndFlush),
        1 => Just(Step::NoSpace),
        1 => Just(Step::NoSpaceSingle),
        2 => Just(Step::SnapshotWritten),
        2 => Just(Step::StartMoved),
        2 => (0..2000u16).prop_map(Step::Pass),
        1 => Just(Step::Kill),
        1 => Just(Step::PowerCut),
    ]
}

struct Model {
    play: Play,
    next_token: u64,
    /// The epoch in which the controller may decide.
    leading: Option<i32>,
    newest_led: i32,
    /// Committed in this life of the process.
    committed: i64,
    /// Epoch and token of each batch ever committed, by base offset.
    canon: BTreeMap<i64, (i32, Option<u64>)>,
    /// What each (base offset, epoch) was given to, for ever.
    assigned: BTreeMap<(i64, i32), Option<u64>>,
}

impl Model {
    fn new() -> Model {
        let mut model = Model {
            play: Play::new(Limits {
                metadata_snapshot_bytes: 1000,
                metadata_snapshot_interval_ms: 3000,
                ..Limits::default()
            }),
            next_token: 0,
            leading: None,
            newest_led: 0,
            committed: 0,
            canon: BTreeMap::new(),
            assigned: BTreeMap::new(),
        };
        model.play.step(Input::Start);
        model.after();
        model
    }

    fn act(&mut self, step: Step) {
        match step {
            Step::Persisted => self.play.persisted(),
            Step::Propose {
                stale,
                records,
                bytes,
            } => {
                self.next_token += 1;
                let epoch = self.leading.unwrap_or(self.newest_led) - i32::from(stale);
                self.play.propose(self.next_token, epoch, records, bytes);
            }
            Step::Write(batches) => self.play.write(usize::from(batches)),
            Step::BeginFlush => self.play.begin_flush(),
            Step::EndFlush => self.play.end_flush(),
            Step::NoSpace if self.play.is_writing() => self.play.fail(AppendError::NoSpace),
            Step::NoSpaceSingle if self.play.is_writing() => {
                // The leader may give these offsets again, for nobody has seen them in the log.
                let (end, leading) = (self.play.end(), self.leading);
                self.assigned
                    .retain(|(offset, epoch), _| *offset < end || Some(*epoch) != leading);
                self.play.fail(AppendError::NoSpaceSingle);
            }
            Step::NoSpace | Step::NoSpaceSingle => {}
            Step::SnapshotWritten => self.play.snapshot_written(),
            Step::StartMoved => self.play.start_moved(),
            Step::Pass(millis) => self.play.pass(i64::from(millis)),
            Step::Kill => self.crash(self.play.end()),
            Step::PowerCut => self.crash(self.play.flushed()),
        }
        self.after();
    }

    fn crash(&mut self, survives: i64) {
        self.play.restart(survives, &mut String::new());
        (self.leading, self.committed) = (None, 0);
        self.play.step(Input::Start);
    }

    fn after(&mut self) {
        self.play.quorum().check();
        for action in self.play.take_actions() {
            match action {
                Action::AppendControl {
                    base_offset,
                    leader_epoch,
                    ..
                } => {
                    self.assign(base_offset, leader_epoch, None);
                }
                Action::Append {
                    token,
                    base_offset,
                    leader_epoch,
                } => {
                    assert_eq!(self.leading, Some(leader_epoch), "appended without leading");
                    self.assign(base_offset, leader_epoch, Some(token));
                }
                Action::Commit { up_to } => {
                    assert!(up_to > self.committed, "the high watermark went back");
                    assert!(
                        up_to <= self.play.flushed(),
                        "committed what is not flushed"
                    );
                    self.committed = up_to;
                }
                Action::LeadershipGained { epoch } => {
                    assert!(epoch > self.newest_led, "epoch {epoch} is led twice");
                    (self.leading, self.newest_led) = (Some(epoch), epoch);
                }
                Action::LeadershipLost { epoch } => {
                    assert_eq!(self.leading.take(), Some(epoch), "lost what was not led");
                }
                _ => {}
            }
        }
        self.compare_committed();
    }

    fn assign(&mut self, base_offset: i64, epoch: i32, token: Option<u64>) {
        let before = self.assigned.insert((base_offset, epoch), token);
        assert_eq!(
            before, None,
            "offset {base_offset} is given twice in epoch {epoch}"
        );
    }

    /// What was ever committed is in the log, unless a snapshot replaced it, and never changes.
    fn compare_committed(&mut self) {
        for written in &self.play.log {
            let batch = (written.epoch, written.token);
            if written.end_offset <= self.committed {
                self.canon.entry(written.base_offset).or_insert(batch);
            }
            let canon = self.canon.get(&written.base_offset);
            assert!(
                canon.is_none_or(|&canon| canon == batch),
                "a committed batch changed"
            );
        }
        let last = self
            .canon
            .last_key_value()
            .map_or(-1, |(&offset, _)| offset);
        assert!(last < self.play.end(), "a committed batch is gone");
    }

    /// Left alone, it elects itself and commits everything.
    fn settle(&mut self) {
        for _ in 0..4 {
            for step in [
                Step::Pass(1000),
                Step::Persisted,
                Step::Persisted,
                Step::Write(u8::MAX),
                Step::EndFlush,
                Step::BeginFlush,
                Step::EndFlush,
                Step::SnapshotWritten,
                Step::StartMoved,
            ] {
                self.act(step);
            }
        }
        let view = self.play.quorum().view();
        assert_eq!(view.role, RoleView::Leader, "nobody leads");
        assert_eq!(
            view.high_watermark,
            Some(view.assigned_end),
            "something is never committed"
        );
        assert_eq!(view.parked, 0, "a proposal waits for nothing");
    }
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 600,
        failure_persistence: None,
        ..ProptestConfig::default()
    })]

    #[test]
    fn what_is_committed_stays(steps in prop::collection::vec(step(), 1..120)) {
        let mut model = Model::new();
        steps.into_iter().for_each(|step| model.act(step));
        model.settle();
    }
}
