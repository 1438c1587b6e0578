//! Writing a history while it happens.

use super::{Body, History, Index, Key, Operation, Process, Rebalance, Send, Stage};
use std::collections::BTreeMap;

/// Collects the operations of all clients of a run. Clients of one thread share it in an `Rc<RefCell<Recorder>>`.
///
/// Time is given by the caller: nanoseconds of the run, never going back.
#[derive(Debug, Default)]
pub struct Recorder {
    operations: Vec<Operation>,
    processes: Vec<State>,
    rebalances: BTreeMap<Process, Vec<Rebalance>>,
}

/// What a process is about.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum State {
    Idle,
    Busy(Index),
    Dead,
}

impl Recorder {
    /// An empty history.
    pub fn new() -> Recorder {
        Recorder::default()
    }

    /// A process that was never heard of before.
    pub fn process(&mut self) -> Process {
        self.processes.push(State::Idle);
        self.processes.len() as Process - 1
    }

    /// `process` starts an operation.
    ///
    /// # Panics
    /// If the process has an operation under way or died: the caller's fault.
    pub fn invoke(&mut self, time: u64, process: Process, body: Body) -> Index {
        let state = self.state(process);
        assert_eq!(
            state,
            State::Idle,
            "process {process} cannot start {body:?}"
        );
        let index = self.push(time, process, Stage::Invoke, body, Vec::new());
        self.processes[process as usize] = State::Busy(index);
        index
    }

    /// The operation of `process` that is under way ends; `body` is the invoked one with the answers filled in.
    ///
    /// After [`Stage::Info`] the process is dead: ask for another with [`Recorder::process`].
    ///
    /// # Panics
    /// If nothing is under way, or `stage` or `body` does not fit it: the caller's fault.
    pub fn complete(&mut self, time: u64, process: Process, stage: Stage, body: Body) -> Index {
        let State::Busy(invoked) = self.state(process) else {
            panic!("process {process} has no operation under way that could end");
        };
        let asked = &self.operations[invoked as usize].body;
        assert_ne!(stage, Stage::Invoke, "an operation ends once");
        assert_eq!(asked.name(), body.name(), "an operation ends as another");
        let rebalances = self.rebalances.remove(&process).unwrap_or_default();
        let dies = stage == Stage::Info || body == Body::Crash;
        let after = if dies { State::Dead } else { State::Idle };
        self.processes[process as usize] = after;
        self.push(time, process, stage, body, rebalances)
    }

    /// As [`Recorder::complete`] for a send: the stage is that of the worst record, so that it is
    /// [`Stage::Fail`] only when every record failed for certain.
    pub fn complete_send(
        &mut self,
        time: u64,
        process: Process,
        sends: Vec<Send>,
    ) -> (Index, Stage) {
        let State::Busy(invoked) = self.state(process) else {
            panic!("process {process} has no send under way that could end");
        };
        let Body::Send { sending, .. } = self.operations[invoked as usize].body else {
            panic!("process {process} sends nothing");
        };
        let stage = stage_of(&sends);
        let body = Body::Send { sending, sends };
        (self.complete(time, process, stage, body), stage)
    }

    /// Partitions came to or left `process`: told with the end of its present or next operation.
    pub fn rebalanced(
        &mut self,
        process: Process,
        generation: i32,
        assigned: Vec<Key>,
        revoked: Vec<Key>,
    ) {
        self.rebalances.entry(process).or_default().push(Rebalance {
            generation,
            assigned,
            revoked,
        });
    }

    /// How many lines there are.
    pub fn len(&self) -> usize {
        self.operations.len()
    }

    /// Whether nothing happened yet.
    pub fn is_empty(&self) -> bool {
        self.operations.is_empty()
    }

    /// The history so far; operations still under way stay without an end and count as unknown.
    pub fn finish(self) -> History {
        History {
            operations: self.operations,
        }
    }

    fn state(&self, process: Process) -> State {
        *self
            .processes
            .get(process as usize)
            .unwrap_or_else(|| panic!("process {process} was never made"))
    }

    fn push(
        &mut self,
        time: u64,
        process: Process,
        stage: Stage,
        body: Body,
        rebalance_log: Vec<Rebalance>,
    ) -> Index {
        let index = self.operations.len() as Index;
        let last = self.operations.last().map_or(0, |last| last.time);
        assert!(time >= last, "time went back from {last} to {time}");
        self.operations.push(Operation {
            index,
            process,
            stage,
            time,
            body,
            rebalance_log,
        });
        index
    }
}

/// The stage of an operation whose records ended like this.
fn stage_of(sends: &[Send]) -> Stage {
    let all = |stage| sends.iter().all(|send| send.stage == stage);
    if all(Stage::Ok) {
        Stage::Ok
    } else if all(Stage::Fail) {
        Stage::Fail
    } else {
        Stage::Info
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::history::Sending;
    use types::Uuid;

    const KEY: Key = Key {
        topic: Uuid::from_u128(1 << 40),
        partition: 0,
    };

    fn send(value: u64, stage: Stage) -> Send {
        Send {
            stage,
            ..Send::new(KEY, value)
        }
    }

    #[test]
    fn a_send_ends_as_its_records_do() {
        let table = [
            ([Stage::Ok, Stage::Ok], Stage::Ok),
            ([Stage::Fail, Stage::Fail], Stage::Fail),
            ([Stage::Ok, Stage::Fail], Stage::Info),
            ([Stage::Info, Stage::Fail], Stage::Info),
        ];
        for (stages, expected) in table {
            let mut recorder = Recorder::new();
            let process = recorder.process();
            let sends = vec![send(1, Stage::Invoke), send(2, Stage::Invoke)];
            let sending = Sending::SAFE;
            recorder.invoke(5, process, Body::Send { sending, sends });
            let ends = vec![send(1, stages[0]), send(2, stages[1])];
            assert_eq!(recorder.complete_send(7, process, ends).1, expected);
            assert_eq!(recorder.finish().operations[1].stage, expected);
        }
    }

    #[test]
    fn rebalances_are_told_with_the_next_end() {
        let mut recorder = Recorder::new();
        let process = recorder.process();
        recorder.rebalanced(process, 3, vec![KEY], vec![]);
        recorder.invoke(1, process, Body::Crash);
        recorder.complete(1, process, Stage::Info, Body::Crash);
        let history = recorder.finish();
        assert!(history.operations[0].rebalance_log.is_empty());
        assert_eq!(history.operations[1].rebalance_log[0].assigned, [KEY]);
    }

    #[test]
    #[should_panic(expected = "process 0 cannot start")]
    fn who_is_unknown_is_never_heard_of_again() {
        let mut recorder = Recorder::new();
        let process = recorder.process();
        let body = Body::DeleteTopic { topic: KEY.topic };
        recorder.invoke(1, process, body.clone());
        recorder.complete(2, process, Stage::Info, body);
        recorder.invoke(3, process, Body::Crash);
    }
}
