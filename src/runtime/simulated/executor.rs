//! Cores: each is one task of madsim with a run queue of its own inside.
//!
//! madsim draws the ready order of all tasks, the time charged for each poll and all entropy from one generator, so
//! that one poll more reshuffles the whole world (docs/decisions/0004). Here cores take turns, see `turns.rs`: at most
//! one of our tasks is ever ready in madsim, so that its draws decide nothing. A core runs its ready tasks in rounds:
//! what becomes ready in one round runs in the next, and the order within a round is drawn from the seed, the core,
//! the moment and the place among that moment's draws, so that a poll more or less at one moment leaves the order at
//! all later ones as it was.

use std::cell::{Cell, RefCell};
use std::future::{Future, poll_fn};
use std::io::Write;
use std::panic::Location;
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker};

use types::Prng;

use super::join::{Ending, JoinHandle, Slot};
use super::nodes::Condition;
use super::timers::Timer;
use super::{lives, turns, world};

/// Polls of one core at one moment from which on some task of it never waits.
const POLLS_AT_ONE_MOMENT_MAX: u64 = 1_000_000;
/// The place of the core's own future, which stands in no slot.
const MAIN: u32 = u32::MAX;

/// Which task of which core.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct TaskAddress {
    world: u64,
    core: usize,
    place: u32,
    /// How often the place had been given away before.
    generation: u32,
}

/// A task between two polls.
struct Task {
    future: Pin<Box<dyn Future<Output = ()>>>,
    waker: Waker,
    ending: Arc<dyn Ending>,
    spawned_at: &'static Location<'static>,
}

#[derive(Default)]
struct Place {
    generation: u32,
    /// Somebody lives here, perhaps being polled just now.
    taken: bool,
    ready: bool,
    aborted: bool,
    task: Option<Task>,
}

#[derive(Default)]
struct Tasks {
    places: Vec<Place>,
    free: Vec<u32>,
    main_ready: bool,
    /// What runs in this round, and in the next.
    round: Vec<u32>,
    next_round: Vec<u32>,
    /// The core takes no more tasks.
    ended: bool,
}

/// One core.
pub(crate) struct Core {
    pub(crate) number: usize,
    pub(crate) node: u64,
    /// Its stream of ready orders.
    key: u64,
    tasks: RefCell<Tasks>,
    /// Its end is the end of the world.
    pub(crate) is_supervisor: bool,
    /// Wakes the madsim task that the core is.
    pub(crate) outer: RefCell<Option<Waker>>,
    /// It stands in the queue for a turn.
    pub(crate) waiting: Cell<bool>,
    /// It gets no turns; what wakes its tasks is remembered.
    pub(crate) paused: Cell<bool>,
    /// See [`super::nodes::set_poll_cost_us`].
    pub(crate) poll_cost_us: Cell<u32>,
    /// It works off its last turn until this timer fires.
    busy: RefCell<Option<Timer>>,
    /// Polls so far in this turn.
    polls: Cell<u64>,
    /// Polls so far in this life.
    pub(crate) polls_ever: Cell<u64>,
    /// The moment of the last poll, and how many there were at it.
    moment: Cell<(u64, u64)>,
}

thread_local! {
    static CURRENT: RefCell<Option<Rc<Core>>> = const { RefCell::new(None) };
}

/// Ends a core's busy time.
struct CoreWaker(TaskAddress);

impl Wake for CoreWaker {
    fn wake(self: Arc<Self>) {
        if self.0.world != world::number() {
            return;
        }
        if let Some(core) = turns::core(self.0.core) {
            core.busy.take();
            if core.is_ready() {
                turns::ready(&core);
            }
        }
    }
}

struct TaskWaker(TaskAddress);

impl Wake for TaskWaker {
    fn wake(self: Arc<Self>) {
        wake(self.0);
    }

    fn wake_by_ref(self: &Arc<Self>) {
        wake(self.0);
    }
}

/// Makes a task ready, if it still lives.
fn wake(address: TaskAddress) {
    if address.world != world::number() {
        return;
    }
    let Some(core) = turns::core(address.core) else {
        return;
    };
    if core.make_ready(address) {
        turns::ready(&core);
    }
}

/// See [`crate::task::JoinHandle::abort`].
pub(crate) fn abort(address: TaskAddress) {
    if address.world != world::number() {
        return;
    }
    let Some(core) = turns::core(address.core) else {
        return;
    };
    let lives = {
        let mut tasks = core.tasks.borrow_mut();
        let place = &mut tasks.places[address.place as usize];
        let lives = place.taken && place.generation == address.generation;
        place.aborted |= lives;
        lives
    };
    if lives {
        wake(address);
    }
}

/// Whether the running task is one of ours.
pub(crate) fn is_on_core() -> bool {
    CURRENT.with_borrow(Option::is_some)
}

/// A timer was added, perhaps the next one to fire.
pub(crate) fn timer_added(at_nanos: u64) {
    turns::timer_added(at_nanos);
}

/// See [`crate::task::spawn_local`].
pub(crate) fn spawn_local<F>(
    future: F,
    spawned_at: &'static Location<'static>,
) -> JoinHandle<F::Output>
where
    F: Future + 'static,
{
    match CURRENT.with_borrow(Clone::clone) {
        Some(core) => core.spawn(future, spawned_at),
        None => JoinHandle::Foreign(tokio::task::spawn_local(future)),
    }
}

/// Runs `future` as the life of a new core of the current node, and drops the core's other tasks at its end.
pub(crate) async fn on_core<F: Future>(index: usize, future: F) -> F::Output {
    live(index, false, future).await
}

/// Runs `future` as the supervisor of the world, which ends with it.
pub(crate) async fn supervise<F: Future>(future: F) -> F::Output {
    live(0, true, future).await
}

async fn live<F: Future>(index: usize, is_supervisor: bool, future: F) -> F::Output {
    let mut future = pin!(future);
    let life = Life(Core::start(index, is_supervisor));
    let mut begun = false;
    let output = poll_fn(|cx| {
        if !std::mem::replace(&mut begun, true) {
            // The first poll only asks for a turn: it is madsim that chose its moment.
            life.0.outer.replace(Some(cx.waker().clone()));
            wake(life.0.main());
            return Poll::Pending;
        }
        life.0.turn(future.as_mut(), cx)
    })
    .await;
    drop(life);
    output
}

/// Ends its core, however its task ends.
struct Life(Rc<Core>);

impl Drop for Life {
    fn drop(&mut self) {
        self.0.end();
        turns::core_ended(&self.0);
    }
}

/// Names the task whose poll panics.
struct Naming<'a> {
    core: &'a Core,
    spawned_at: Option<&'static Location<'static>>,
}

impl Drop for Naming<'_> {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            return;
        }
        let (node, seconds) = (self.core.node, world::now_nanos() as f64 / 1e9);
        let task = match self.spawned_at {
            Some(place) => format!("the task spawned at {place}"),
            None => String::from("the core's own future"),
        };
        // The message of the panic went there too. Nobody can be told that it cannot be written.
        let _ = writeln!(
            std::io::stderr(),
            "node {node}, {seconds:.6} s: {task} panicked"
        );
    }
}

impl Core {
    fn start(index: usize, is_supervisor: bool) -> Rc<Core> {
        let node = world::current_node();
        let mut prng = Prng::new(world::seed(), &format!("ready order {node} {index}"));
        turns::add_core(|number| Core {
            number,
            node,
            key: prng.next_u64(),
            tasks: RefCell::default(),
            is_supervisor,
            outer: RefCell::default(),
            waiting: Cell::new(false),
            paused: Cell::new(lives::node(node).condition == Condition::Paused),
            poll_cost_us: Cell::new(lives::node(node).poll_cost_us),
            busy: RefCell::default(),
            polls: Cell::new(0),
            polls_ever: Cell::new(0),
            moment: Cell::new((u64::MAX, 0)),
        })
    }

    /// Whether it may run what is ready.
    pub(crate) fn may_turn(&self) -> bool {
        !self.paused.get() && self.busy.borrow().is_none()
    }

    /// Keeps the core busy for as long as `polls` take; what becomes ready meanwhile waits.
    fn be_busy(self: &Rc<Core>, polls: u64) {
        let cost_us = polls * u64::from(self.poll_cost_us.get());
        if cost_us > 0 {
            let at_nanos = world::now_nanos() + cost_us * 1_000;
            let waker = Waker::from(Arc::new(CoreWaker(self.main())));
            self.busy
                .replace(Some(Timer::new(self.node, at_nanos, waker)));
        }
    }

    fn main(&self) -> TaskAddress {
        TaskAddress {
            world: world::number(),
            core: self.number,
            place: MAIN,
            generation: 0,
        }
    }

    /// Tasks that have not ended.
    pub(crate) fn task_count(&self) -> usize {
        let tasks = self.tasks.borrow();
        tasks.places.len() - tasks.free.len()
    }

    /// Whether the core has something to run.
    pub(crate) fn is_ready(&self) -> bool {
        let tasks = self.tasks.borrow();
        !(tasks.round.is_empty() && tasks.next_round.is_empty())
    }

    /// Puts a task into the next round; false if it is in a round already or lives no more.
    fn make_ready(&self, address: TaskAddress) -> bool {
        let mut tasks = self.tasks.borrow_mut();
        let tasks = &mut *tasks;
        let ready = if address.place == MAIN {
            &mut tasks.main_ready
        } else {
            match tasks.places.get_mut(address.place as usize) {
                Some(place) if place.taken && place.generation == address.generation => {
                    &mut place.ready
                }
                _ => return false,
            }
        };
        if *ready || tasks.ended {
            return false;
        }
        *ready = true;
        tasks.next_round.push(address.place);
        true
    }

    pub(crate) fn spawn<F>(
        &self,
        future: F,
        spawned_at: &'static Location<'static>,
    ) -> JoinHandle<F::Output>
    where
        F: Future + 'static,
    {
        let slot = Slot::new();
        let address = self.take_place();
        let handle = JoinHandle::Own {
            slot: Arc::clone(&slot),
            task: address,
        };
        if self.tasks.borrow().ended {
            slot.dropped();
            return handle;
        }
        let ending: Arc<dyn Ending> = Arc::clone(&slot) as Arc<dyn Ending>;
        let task = Task {
            future: Box::pin(async move { slot.end(Ok(future.await)) }),
            waker: Waker::from(Arc::new(TaskWaker(address))),
            ending,
            spawned_at,
        };
        self.tasks.borrow_mut().places[address.place as usize].task = Some(task);
        wake(address);
        handle
    }

    fn take_place(&self) -> TaskAddress {
        let mut tasks = self.tasks.borrow_mut();
        let place = tasks.free.pop().unwrap_or_else(|| {
            tasks.places.push(Place::default());
            u32::try_from(tasks.places.len() - 1).expect("fewer than 2^32 tasks")
        });
        let taken = &mut tasks.places[place as usize];
        taken.taken = true;
        TaskAddress {
            place,
            generation: taken.generation,
            ..self.main()
        }
    }

    fn free_place(&self, place: u32) {
        let mut tasks = self.tasks.borrow_mut();
        let generation = tasks.places[place as usize].generation + 1;
        tasks.places[place as usize] = Place {
            generation,
            ..Place::default()
        };
        tasks.free.push(place);
    }

    /// Runs everything that is ready, if it is this core's turn.
    fn turn<F: Future>(
        self: &Rc<Core>,
        main: Pin<&mut F>,
        cx: &mut Context<'_>,
    ) -> Poll<F::Output> {
        if !turns::begin(self, cx) {
            return Poll::Pending;
        }
        let before = CURRENT.replace(Some(Rc::clone(self)));
        let poll = world::on_node(self.node, || {
            turns::begin_time();
            // Whoever only fires timers may be paused or busy.
            if self.may_turn() {
                self.run_rounds(main)
            } else {
                Poll::Pending
            }
        });
        CURRENT.set(before);
        self.be_busy(self.polls.take());
        if poll.is_pending() {
            turns::pass_on();
        }
        poll
    }

    fn run_rounds<F: Future>(&self, mut main: Pin<&mut F>) -> Poll<F::Output> {
        while let Some(place) = self.next_ready() {
            if place != MAIN {
                self.run(place);
                continue;
            }
            let waker = Waker::from(Arc::new(TaskWaker(self.main())));
            let naming = Naming {
                core: self,
                spawned_at: None,
            };
            let poll = main.as_mut().poll(&mut Context::from_waker(&waker));
            drop(naming);
            if poll.is_ready() {
                return poll;
            }
        }
        Poll::Pending
    }

    /// Takes one task out of the round, or begins the next one.
    fn next_ready(&self) -> Option<u32> {
        let mut tasks = self.tasks.borrow_mut();
        let tasks = &mut *tasks;
        if tasks.round.is_empty() {
            std::mem::swap(&mut tasks.round, &mut tasks.next_round);
        }
        let count = tasks.round.len() as u64;
        if count == 0 {
            return None;
        }
        let polls = self.count_poll();
        let drawn = match count {
            1 => 0,
            _ => {
                let moment = world::now_nanos().wrapping_mul(0x9e37_79b9_7f4a_7c15);
                Prng::new(self.key ^ moment.wrapping_add(polls), "round").below(count)
            }
        };
        let place = tasks.round.swap_remove(drawn as usize);
        match tasks.places.get_mut(place as usize) {
            Some(place) => place.ready = false,
            None => tasks.main_ready = false,
        }
        Some(place)
    }

    /// How many polls there were at this moment before this one.
    fn count_poll(&self) -> u64 {
        let now_nanos = world::now_nanos();
        let (moment, polls) = self.moment.get();
        let polls = if moment == now_nanos { polls + 1 } else { 0 };
        assert!(
            polls < POLLS_AT_ONE_MOMENT_MAX,
            "node {}: {polls} polls at one moment: some task never waits",
            self.node
        );
        self.moment.set((now_nanos, polls));
        self.polls.set(self.polls.get() + 1);
        self.polls_ever.set(self.polls_ever.get() + 1);
        polls
    }

    /// Polls one task, or drops it if it was aborted.
    fn run(&self, place: u32) {
        let (task, aborted) = {
            let place = &mut self.tasks.borrow_mut().places[place as usize];
            (place.task.take(), place.aborted)
        };
        let Some(mut task) = task else { return };
        let ended = aborted || {
            let _naming = Naming {
                core: self,
                spawned_at: Some(task.spawned_at),
            };
            let mut context = Context::from_waker(&task.waker);
            task.future.as_mut().poll(&mut context).is_ready()
        };
        if !ended {
            self.tasks.borrow_mut().places[place as usize].task = Some(task);
            return;
        }
        self.free_place(place);
        drop(task.future);
        task.ending.dropped();
    }

    /// Drops all tasks, in the order of their places, and takes no more.
    pub(crate) fn end(self: &Rc<Core>) {
        let count = {
            let mut tasks = self.tasks.borrow_mut();
            tasks.ended = true;
            tasks.round.clear();
            tasks.next_round.clear();
            tasks.places.len()
        };
        let before = CURRENT.replace(Some(Rc::clone(self)));
        world::on_node(self.node, || {
            for place in 0..count {
                let task = self.tasks.borrow_mut().places[place].task.take();
                if let Some(task) = task {
                    drop(task.future);
                    task.ending.dropped();
                }
            }
        });
        CURRENT.set(before);
    }
}
