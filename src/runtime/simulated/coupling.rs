//! The experiment of docs/decisions/0004: how far one event more or less in one node reshuffles the nodes that have
//! nothing to do with it.
//!
//! Six nodes run timers, workers and channels. Nodes 0 to 2 send each other messages; 3 to 5 are a group apart. One
//! thing is changed in node 0 two seconds after the start. Whatever changes in the group apart is a leak.

use std::cell::RefCell;
use std::fmt;
use std::rc::Rc;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use types::Prng;

use crate::Clock;
use crate::sync::mpsc;
use crate::task::{spawn_local, start_cores, yield_now};
use crate::time::{sleep, timeout};

const NODES: usize = 6;
const WORKERS: usize = 3;
const CHANGE_AFTER_MS: u64 = 2_000;
const RUN_MS: u64 = 6_000;

/// What is done differently in node 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Change {
    None,
    OnePollMore,
    OneSleepMore,
    OneMessageLess,
}

/// When something happened by its node's clock, and what.
type Seen = (u64, u32);
type Log = Arc<Mutex<Vec<Vec<Seen>>>>;

/// One node's inside.
#[derive(Clone)]
struct Node {
    number: usize,
    clock: Clock,
    /// Shared by the node's tasks: who draws first is decided by the ready order.
    prng: Rc<RefCell<Prng>>,
    log: Log,
    jobs: mpsc::Sender<u32>,
    neighbour: mpsc::Sender<u32>,
    change: Change,
}

impl Node {
    fn saw(&self, what: u32) {
        let at = self.clock.mono().as_nanos();
        self.log.lock().unwrap()[self.number].push((at, what));
    }

    fn draw(&self, below: u64) -> u64 {
        self.prng.borrow_mut().below(below)
    }

    fn changes(&self, change: Change) -> bool {
        self.number == 0 && self.change == change
    }

    /// Ticks by its own period and gives its tick to the workers.
    async fn tick(self, task: u32) {
        let period = Duration::from_millis(5 + u64::from(task));
        let mut changed = false;
        for count in 0.. {
            sleep(period).await;
            if !changed && task == 0 && count * period.as_millis() >= u128::from(CHANGE_AFTER_MS) {
                changed = true;
                if self.changes(Change::OnePollMore) {
                    yield_now().await;
                }
                if self.changes(Change::OneSleepMore) {
                    sleep(Duration::from_millis(1)).await;
                }
            }
            self.saw(task);
            let _ = self.jobs.send(task).await;
        }
    }

    /// Works for a drawn time on what its node was given, now and then for the neighbour.
    async fn work(self, worker: u32, jobs: Rc<tokio::sync::Mutex<mpsc::Receiver<u32>>>) {
        let mut sent = 0;
        loop {
            let received = { jobs.lock().await.recv().await };
            let Some(job) = received else { return };
            let work = sleep(Duration::from_micros(100 + self.draw(900)));
            let _ = timeout(Duration::from_micros(700), work).await;
            self.saw(1_000 + worker * 100 + job);
            if self.draw(4) == 0 {
                sent += 1;
                let left_out = worker == 0 && sent == 60 && self.changes(Change::OneMessageLess);
                if !left_out {
                    self.saw(2_000 + worker);
                    let _ = self.neighbour.try_send(50 + worker);
                }
            }
        }
    }

    async fn live(self, jobs: mpsc::Receiver<u32>, mut arriving: mpsc::Receiver<u32>) {
        let jobs = Rc::new(tokio::sync::Mutex::new(jobs));
        for task in 0..4 {
            spawn_local(self.clone().tick(task));
        }
        for worker in 0..WORKERS as u32 {
            spawn_local(self.clone().work(worker, Rc::clone(&jobs)));
        }
        let node = self.clone();
        spawn_local(async move {
            while let Some(message) = arriving.recv().await {
                sleep(Duration::from_micros(200)).await;
                node.saw(3_000 + message);
                let _ = node.jobs.try_send(message);
            }
        });
        sleep(Duration::from_millis(RUN_MS)).await;
    }
}

/// One run: what each node saw, in order.
fn run(seed: u64, change: Change) -> Vec<Vec<Seen>> {
    let log = Log::new(Mutex::new(vec![Vec::new(); NODES]));
    let told = Arc::clone(&log);
    super::run(seed, async move {
        let (mut senders, mut receivers): (Vec<_>, Vec<_>) =
            (0..NODES).map(|_| mpsc::channel::<u32>(1_000)).unzip();
        // Messages go round in each group of three.
        senders[..3].rotate_left(1);
        senders[3..].rotate_left(1);
        let starters: Vec<_> = senders
            .into_iter()
            .zip(receivers.drain(..))
            .map(|(neighbour, arriving)| {
                let log = Arc::clone(&told);
                move |number: usize| async move {
                    let (jobs, job_receiver) = mpsc::channel(100);
                    let prng = Prng::new(seed, &format!("node {number}"));
                    let node = Node {
                        number,
                        clock: Clock::start(),
                        prng: Rc::new(RefCell::new(prng)),
                        log,
                        jobs,
                        neighbour,
                        change,
                    };
                    node.live(job_receiver, arriving).await;
                }
            })
            .collect();
        start_cores(starters).unwrap().join().await;
    });
    Arc::try_unwrap(log).unwrap().into_inner().unwrap()
}

/// How much of what some nodes saw after the change differs, in percent.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
struct Difference {
    /// The event at the same place in its node's order came at another nanosecond.
    nanos: f64,
    /// .. at another microsecond.
    micros: f64,
    /// .. is another event.
    order: f64,
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{:6.2} {:6.2} {:6.2}",
            self.nanos, self.micros, self.order
        )
    }
}

fn difference(plain: &[Vec<Seen>], changed: &[Vec<Seen>]) -> Difference {
    let (mut nanos, mut micros, mut order, mut all) = (0u32, 0u32, 0u32, 0u32);
    for (left, right) in plain.iter().zip(changed) {
        let from = left.partition_point(|seen| seen.0 < CHANGE_AFTER_MS * 1_000_000);
        let length = left.len().max(right.len());
        for index in from..length {
            let (left, right) = (left.get(index), right.get(index));
            all += 1;
            nanos += u32::from(left.map(|seen| seen.0) != right.map(|seen| seen.0));
            micros +=
                u32::from(left.map(|seen| seen.0 / 1_000) != right.map(|seen| seen.0 / 1_000));
            order += u32::from(left.map(|seen| seen.1) != right.map(|seen| seen.1));
        }
    }
    let percent = |count: u32| 100.0 * f64::from(count) / f64::from(all);
    Difference {
        nanos: percent(nanos),
        micros: percent(micros),
        order: percent(order),
    }
}

/// What changed in the group of the changed node, and in the group apart, over some seeds.
fn measured(change: Change, seeds: u64) -> (Difference, Difference) {
    let mut sums = [Difference::default(); 2];
    for seed in 1..=seeds {
        let (plain, changed) = (run(seed, Change::None), run(seed, change));
        let groups = [(&plain[..3], &changed[..3]), (&plain[3..], &changed[3..])];
        for (sum, (plain, changed)) in sums.iter_mut().zip(groups) {
            let found = difference(plain, changed);
            sum.nanos += found.nanos / seeds as f64;
            sum.micros += found.micros / seeds as f64;
            sum.order += found.order / seeds as f64;
        }
    }
    (sums[0], sums[1])
}

#[test]
fn the_same_seed_gives_the_same_run() {
    assert_eq!(run(5, Change::None), run(5, Change::None));
    assert_ne!(run(5, Change::None), run(6, Change::None));
}

#[test]
fn a_change_in_one_node_leaves_strangers_as_they_were() {
    println!("percent of events after the change: other nanosecond, microsecond, event");
    for change in [
        Change::OnePollMore,
        Change::OneSleepMore,
        Change::OneMessageLess,
    ] {
        let (own, apart) = measured(change, 10);
        println!("{change:?}: own group {own}, group apart {apart}");
        assert_eq!(apart, Difference::default(), "{change:?}");
        assert_eq!(
            own == Difference::default(),
            change == Change::OnePollMore,
            "{change:?}"
        );
    }
}
