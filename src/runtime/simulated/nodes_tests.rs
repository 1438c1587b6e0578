//! Stories of nodes that start, stop, pause and start again, and of their clocks.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use madsim::runtime::{Handle, NodeHandle};
use types::Mono;

use super::clocks::Clocks;
use super::disk::Survival;
use super::nodes::{self, Condition};
use super::world::number_of;
use crate::task::spawn_local;
use crate::time::{sleep, sleep_until, timeout};
use crate::{Clock, entropy};

type Log<T> = Arc<Mutex<Vec<T>>>;

/// A node whose every life is `life`.
fn node<F>(life: impl Fn() -> F + Send + Sync + 'static) -> NodeHandle
where
    F: Future<Output = ()> + 'static,
{
    let world = Handle::current();
    let node = world.create_node().init(move || nodes::live(life()));
    node.build()
}

/// A node that writes down the milliseconds of its clock every 10 ms, and the log of it.
fn ticking() -> (NodeHandle, Log<u64>) {
    let log = Log::default();
    let told = Arc::clone(&log);
    let life = move || {
        let log = Arc::clone(&told);
        async move {
            let clock = Clock::start();
            loop {
                sleep(Duration::from_millis(10)).await;
                let passed = clock.mono().since(Mono::START);
                log.lock().unwrap().push(passed.as_millis() as u64);
            }
        }
    };
    (node(life), log)
}

fn taken<T>(log: &Log<T>) -> Vec<T> {
    std::mem::take(&mut *log.lock().unwrap())
}

async fn after_ms(millis: u64) {
    sleep(Duration::from_millis(millis)).await;
}

/// Tells when it is dropped.
struct Tells(Rc<Cell<u32>>);

impl Drop for Tells {
    fn drop(&mut self) {
        self.0.set(self.0.get() + 1);
    }
}

#[test]
fn a_killed_node_is_gone_at_once_and_starts_anew() {
    super::run(1, async {
        let (node, ticks) = ticking();
        let number = number_of(node.id());
        after_ms(35).await;
        let dropped = Rc::new(Cell::new(0));
        let tells = Tells(Rc::clone(&dropped));
        let task = nodes::spawn_on(number, async move {
            let _tells = tells;
            std::future::pending::<()>().await;
        });
        after_ms(1).await;
        assert_eq!(taken(&ticks), [10, 20, 30]);
        nodes::kill(node.id());
        assert_eq!(dropped.get(), 1, "tasks are dropped inside the kill");
        assert!(task.await.is_err());
        assert_eq!(nodes::condition(number), Condition::Killed);
        after_ms(50).await;
        assert!(taken(&ticks).is_empty());
        nodes::start(node.id());
        assert_eq!(
            (nodes::life(number), nodes::condition(number)),
            (1, Condition::Running)
        );
        after_ms(25).await;
        assert_eq!(
            taken(&ticks),
            [10, 20],
            "its clock counts from the start of its process"
        );
    });
}

#[test]
fn a_paused_node_does_nothing_and_meets_what_came_due() {
    super::run(1, async {
        let (node, ticks) = ticking();
        after_ms(15).await;
        nodes::pause(node.id());
        after_ms(100).await;
        assert_eq!(taken(&ticks), [10]);
        nodes::resume(node.id());
        after_ms(12).await;
        assert_eq!(taken(&ticks), [115, 125], "its clock ran on");
    });
}

#[test]
fn a_paused_node_can_be_killed() {
    super::run(1, async {
        let (node, ticks) = ticking();
        nodes::pause(node.id());
        after_ms(20).await;
        nodes::start(node.id());
        after_ms(11).await;
        assert_eq!(taken(&ticks), [10]);
    });
}

#[test]
fn a_node_without_power_starts_after_it_is_back() {
    super::run(1, async {
        let (node, ticks) = ticking();
        after_ms(15).await;
        nodes::power_off(node.id());
        after_ms(15).await;
        assert_eq!(nodes::condition(number_of(node.id())), Condition::Off);
        nodes::power_on(node.id(), Survival::None);
        nodes::start(node.id());
        after_ms(15).await;
        assert_eq!(taken(&ticks), [10, 10]);
    });
}

#[test]
fn a_node_whose_process_ends_is_seen_and_started_again() {
    super::run(1, async {
        let lives = Log::default();
        let told = Arc::clone(&lives);
        let node = node(move || {
            let told = Arc::clone(&told);
            async move {
                let number = super::world::current_node();
                told.lock().unwrap().push(nodes::life(number));
                // What it leaves behind ends with it.
                spawn_local(std::future::pending::<()>());
                after_ms(5).await;
            }
        });
        after_ms(6).await;
        assert_eq!(nodes::condition(number_of(node.id())), Condition::Ended);
        nodes::start(node.id());
        after_ms(6).await;
        assert_eq!(taken(&lives), [0, 1]);
    });
}

#[test]
fn entropy_is_the_nodes_and_its_lifes_own() {
    let drawn = |others: u64| {
        super::run(3, async move {
            for _ in 0..others {
                entropy();
            }
            let log = Log::default();
            let told = Arc::clone(&log);
            let node = node(move || {
                let told = Arc::clone(&told);
                async move { told.lock().unwrap().push((entropy(), entropy())) }
            });
            after_ms(1).await;
            nodes::start(node.id());
            after_ms(1).await;
            taken(&log)
        })
    };
    let first = drawn(0);
    assert_eq!(first.len(), 2);
    assert_ne!(first[0], first[1]);
    assert_ne!(first[0].0, first[0].1);
    assert_eq!(
        first,
        drawn(5),
        "what another node draws makes no difference"
    );
}

#[test]
fn a_slow_processor_keeps_its_core_busy() {
    super::run(1, async {
        let (node, ticks) = ticking();
        nodes::set_poll_cost_us(number_of(node.id()), 4_000);
        after_ms(60).await;
        // A poll at the start, 4 ms for it, 10 ms of sleep beside it; each tick is one poll that costs 4 ms more.
        assert_eq!(taken(&ticks), [10, 20, 30, 40, 50]);
        nodes::set_poll_cost_us(number_of(node.id()), 25_000);
        after_ms(80).await;
        assert_eq!(taken(&ticks), [60, 85, 110, 135]);
    });
}

#[test]
fn tasks_that_never_wait_are_found_out() {
    let spins = || {
        super::run(1, async {
            loop {
                crate::task::yield_now().await;
            }
        })
    };
    let panic = std::panic::catch_unwind(spins).map(drop).unwrap_err();
    let message = panic.downcast::<String>().unwrap();
    assert!(message.contains("some task never waits"), "{message}");
}

/// What a node's clock shows after some milliseconds of true time: monotonic and wall, in milliseconds.
struct Watched {
    clock: Rc<RefCell<Option<Clock>>>,
    number: u64,
    node: NodeHandle,
}

impl Watched {
    async fn new() -> Watched {
        let node = node(std::future::pending::<()>);
        let number = number_of(node.id());
        after_ms(1).await;
        let clock = Rc::new(RefCell::new(None));
        let made = Rc::clone(&clock);
        let start = nodes::spawn_on(
            number,
            async move { *made.borrow_mut() = Some(Clock::start()) },
        );
        start.await.unwrap();
        Watched {
            clock,
            number,
            node,
        }
    }

    /// Milliseconds that the monotonic clock counted, and that the wall clock is ahead of a true one.
    fn reading(&self) -> (u64, i64) {
        let now = self.clock.borrow().as_ref().unwrap().now();
        let ahead = now.wall.as_millis() - super::clocks::true_wall_ms();
        let passed = now.mono.since(Mono::START);
        (passed.as_millis() as u64, ahead)
    }
}

#[test]
fn a_wall_clock_is_set_and_stepped_and_the_monotonic_one_is_not() {
    super::run(1, async {
        let watched = Watched::new().await;
        let clocks = Clocks::current();
        clocks.set_offset_ms(watched.number, 5_000);
        assert_eq!(watched.reading(), (0, 5_000));
        after_ms(1_000).await;
        clocks.step_wall_ms(watched.number, 3_600_000);
        assert_eq!(watched.reading(), (1_000, 3_605_000));
        clocks.step_wall_ms(watched.number, -7_200_000);
        assert_eq!(watched.reading(), (1_000, -3_595_000));
        after_ms(1_000).await;
        assert_eq!(watched.reading(), (2_000, -3_595_000));
    });
}

#[test]
fn a_clock_that_drifts_takes_its_timers_along() {
    super::run(1, async {
        let watched = Watched::new().await;
        let clocks = Clocks::current();
        clocks.set_drift_ppm(watched.number, 100_000);
        after_ms(1_000).await;
        assert_eq!(watched.reading(), (1_100, 100));
        clocks.set_drift_ppm(watched.number, -100_000);
        after_ms(1_000).await;
        assert_eq!(watched.reading(), (2_000, 0));

        let truth = Clock::start();
        let clock = watched.clock.borrow().clone().unwrap();
        let slept = nodes::spawn_on(watched.number, async move {
            let before = clock.mono();
            sleep(Duration::from_millis(900)).await;
            let by_sleep = clock.mono().since(before);
            sleep_until(&clock, before.plus_millis(1_800)).await;
            let by_until = clock.mono().since(before);
            let never = std::future::pending::<()>();
            assert!(timeout(Duration::from_millis(900), never).await.is_err());
            (by_sleep, by_until, clock.mono().since(before))
        });
        let (by_sleep, by_until, by_timeout) = slept.await.unwrap();
        for (took, asked_ms) in [(by_sleep, 900), (by_until, 1_800), (by_timeout, 2_700)] {
            let asked = Duration::from_millis(asked_ms);
            assert!(
                (asked..asked + Duration::from_micros(4)).contains(&took),
                "{took:?}"
            );
        }
        let took = truth.mono().since(Mono::START);
        assert!(took >= Duration::from_millis(3_000) && took < Duration::from_millis(3_001));
    });
}

#[test]
fn a_drift_that_changes_meets_timers_that_run() {
    super::run(1, async {
        let watched = Watched::new().await;
        let slept = nodes::spawn_on(watched.number, sleep(Duration::from_millis(1_000)));
        let truth = Clock::start();
        after_ms(500).await;
        // Half of it is left, at eleven tenths of the speed.
        Clocks::current().set_drift_ppm(watched.number, 100_000);
        slept.await.unwrap();
        let took = truth.mono().since(Mono::START);
        assert!(
            took > Duration::from_millis(954) && took < Duration::from_millis(955),
            "{took:?}"
        );
    });
}

#[test]
fn a_new_life_has_a_new_clock_and_the_same_wall() {
    super::run(1, async {
        let watched = Watched::new().await;
        Clocks::current().step_wall_ms(watched.number, -60_000);
        after_ms(100).await;
        nodes::start(watched.node.id());
        after_ms(1).await;
        let reading = nodes::spawn_on(watched.number, async {
            let now = Clock::start().now();
            (
                now.mono,
                now.wall.as_millis() - super::clocks::true_wall_ms(),
            )
        });
        assert_eq!(reading.await, Ok((Mono::START, -60_000)));
    });
}
