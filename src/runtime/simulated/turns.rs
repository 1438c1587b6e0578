//! Whose turn it is among the cores, and when time goes on.
//!
//! One turn at a time: a core that has ready tasks waits in a queue until it is woken in madsim, runs all of them, and
//! passes the turn on. When nobody waits, true time jumps to the next timer. Until then madsim has nothing of ours to
//! choose from.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::future::Future;
use std::pin::pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Wake, Waker};
use std::time::Duration;

use super::executor::Core;
use super::{timers, world};

/// Who may go on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Turn {
    /// Nobody: all cores wait for something that madsim brings.
    #[default]
    Free,
    /// It is being passed on.
    Passing,
    /// The core of this number.
    Core(usize),
    /// Time: all cores wait, and madsim's clock was asked to go on to this moment.
    Time(u64),
}

#[derive(Default)]
struct Turns {
    cores: Vec<Option<Rc<Core>>>,
    /// Cores that have ready tasks, in the order in which they got them.
    waiting: VecDeque<usize>,
    turn: Turn,
    /// What the core whose turn it is does first.
    first: First,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum First {
    #[default]
    Nothing,
    /// Fires the timers of this moment.
    Fire(u64),
    /// Moves true time on to madsim's: something that goes by madsim's clock woke it.
    CatchUp,
}

thread_local! {
    static TURNS: RefCell<Turns> = RefCell::default();
}

/// Begins a world without cores.
pub(crate) fn start_world() {
    let before = TURNS.take();
    drop(before);
}

/// Ends the world: all tasks of all cores are dropped.
fn end_world() {
    world::end();
    let cores = TURNS.with_borrow_mut(|turns| {
        turns.turn = Turn::Passing;
        turns.waiting.clear();
        turns.cores.clone()
    });
    for core in cores.into_iter().flatten() {
        core.end();
    }
    TURNS.with_borrow_mut(|turns| turns.cores.clear());
}

/// The core of that number, while it lives.
pub(crate) fn core(number: usize) -> Option<Rc<Core>> {
    // The thread may be ending.
    TURNS
        .try_with(|turns| turns.borrow().cores.get(number).cloned().flatten())
        .ok()
        .flatten()
}

/// The living cores of `node`, in the order of their start.
pub(crate) fn cores_of(node: u64) -> Vec<Rc<Core>> {
    TURNS.with_borrow(|turns| {
        let cores = turns.cores.iter().flatten();
        cores.filter(|core| core.node == node).cloned().collect()
    })
}

/// Adds a core, which has nothing ready yet.
pub(crate) fn add_core(make: impl FnOnce(usize) -> Core) -> Rc<Core> {
    TURNS.with_borrow_mut(|turns| {
        let number = turns.cores.len();
        let core = Rc::new(make(number));
        turns.cores.push(Some(Rc::clone(&core)));
        core
    })
}

/// A core got its first ready task. May be called by any waker, so it asks nothing of madsim but to wake a task.
pub(crate) fn ready(core: &Core) {
    let woken = TURNS.with_borrow_mut(|turns| {
        if turns.turn == Turn::Core(core.number) || !core.may_turn() || core.waiting.get() {
            return None;
        }
        core.waiting.set(true);
        turns.waiting.push_back(core.number);
        if !matches!(turns.turn, Turn::Free | Turn::Time(_)) {
            return None;
        }
        turns.first = First::CatchUp;
        turns.next_core()
    });
    if let Some(waker) = woken {
        waker.wake();
    }
}

impl Turns {
    /// Gives the turn to whoever waits longest, and says how to wake it.
    fn next_core(&mut self) -> Option<Waker> {
        while let Some(number) = self.waiting.pop_front() {
            let Some(core) = self.cores[number].clone() else {
                continue;
            };
            core.waiting.set(false);
            if !core.may_turn() {
                continue;
            }
            self.turn = Turn::Core(number);
            // A core without a waker is in its first poll, and sees by itself whose turn it is.
            return core.outer.borrow().clone();
        }
        None
    }
}

/// Whether it is `core`'s turn, which is being polled.
pub(crate) fn begin(core: &Core, cx: &Context<'_>) -> bool {
    core.outer.replace(Some(cx.waker().clone()));
    TURNS.with_borrow(|turns| turns.turn == Turn::Core(core.number))
}

/// What a turn begins with.
pub(crate) fn begin_time() {
    let first = TURNS.with_borrow_mut(|turns| std::mem::take(&mut turns.first));
    match first {
        First::Nothing => {}
        First::Fire(at_nanos) => world::on_node(0, || timers::fire(at_nanos)),
        First::CatchUp => world::on_node(0, || {
            let until_nanos = world::madsim_nanos();
            while let Some(at_nanos) = timers::next_nanos().filter(|at| *at <= until_nanos) {
                timers::fire(at_nanos);
            }
            world::catch_up();
        }),
    }
}

/// Ends a turn: the next core's begins, or time goes on.
pub(crate) fn pass_on() {
    loop {
        let waker = TURNS.with_borrow_mut(|turns| {
            turns.turn = Turn::Passing;
            turns.next_core()
        });
        if let Some(waker) = waker {
            return waker.wake();
        }
        let Some(at_nanos) = timers::next_nanos() else {
            return TURNS.with_borrow_mut(|turns| turns.turn = Turn::Free);
        };
        if at_nanos > world::madsim_nanos() {
            TURNS.with_borrow_mut(|turns| turns.turn = Turn::Time(at_nanos));
            return wait_for(at_nanos);
        }
        world::on_node(0, || timers::fire(at_nanos));
    }
}

/// A timer was added, perhaps by somebody whose turn it is not.
pub(crate) fn timer_added(at_nanos: u64) {
    let earlier = TURNS.with_borrow_mut(|turns| {
        let earlier = match turns.turn {
            Turn::Free => true,
            Turn::Time(awaited_nanos) => at_nanos < awaited_nanos,
            Turn::Passing | Turn::Core(_) => false,
        };
        if earlier {
            turns.turn = Turn::Time(at_nanos);
        }
        earlier
    });
    if earlier {
        wait_for(at_nanos);
    }
}

/// Takes a core out of the world; its tasks were dropped.
pub(crate) fn remove(core: &Core) {
    TURNS.with_borrow_mut(|turns| {
        assert_ne!(
            turns.turn,
            Turn::Core(core.number),
            "a core does not remove itself"
        );
        turns.cores[core.number] = None;
    });
}

/// A core has ended, or its task was dropped.
pub(crate) fn core_ended(core: &Core) {
    if world::has_ended() {
        return;
    }
    if core.is_supervisor {
        return end_world();
    }
    let its_turn = TURNS.with_borrow_mut(|turns| {
        // Whoever was removed before leaves an empty place, which is never given away again.
        turns.cores[core.number] = None;
        turns.turn == Turn::Core(core.number)
    });
    if its_turn && !std::thread::panicking() {
        pass_on();
    }
}

/// What madsim wakes when its clock has come to a moment.
struct TimeWaker {
    world: u64,
    at_nanos: u64,
}

impl Wake for TimeWaker {
    fn wake(self: Arc<Self>) {
        if self.world == world::number() {
            time_came(self.at_nanos);
        }
    }
}

/// Asks madsim to let its clock go on to `at_nanos`.
fn wait_for(at_nanos: u64) {
    let Some(time) = madsim::time::TimeHandle::try_current() else {
        return;
    };
    let left_nanos = at_nanos.saturating_sub(world::madsim_nanos());
    let deadline = time.now_instant() + Duration::from_nanos(left_nanos);
    let mut sleep = pin!(time.sleep_until(deadline));
    // madsim's sleeps last a millisecond at least, unless their end is set again.
    sleep.as_mut().reset(deadline);
    let waker = Waker::from(Arc::new(TimeWaker {
        world: world::number(),
        at_nanos,
    }));
    if sleep.poll(&mut Context::from_waker(&waker)).is_ready() {
        time_came(at_nanos);
    }
}

/// madsim's clock has come to a moment. Runs under the lock of madsim's timers, so it only wakes.
fn time_came(at_nanos: u64) {
    let host = TURNS.with_borrow_mut(|turns| {
        if turns.turn != Turn::Time(at_nanos) {
            return None;
        }
        // The timers are fired by a core, outside of madsim's lock; which one makes no difference.
        let host = turns
            .cores
            .iter()
            .flatten()
            .find(|core| core.outer.borrow().is_some())?;
        let waker = host.outer.borrow().clone();
        turns.turn = Turn::Core(host.number);
        turns.first = First::Fire(at_nanos);
        waker
    });
    if let Some(waker) = host {
        waker.wake();
    }
}
