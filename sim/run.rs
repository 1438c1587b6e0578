//! Runs a plan: brings the cluster up, lets clients and faults at it, heals it, and judges what was seen.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::future::Future;
use std::io::Write;
use std::os::unix::fs::FileExt;
use std::rc::Rc;
use std::sync::{Arc, LazyLock};

use broker::observer::Observer;
use madsim::runtime::Handle;
use runtime::simulated::leaks;
use runtime::simulated::trace as runtime_trace;
use runtime::simulated::world::now_nanos;
use runtime::sync::Notify;
use types::Plant;

use crate::checkers::history::{Expectations, judge};
use crate::checkers::state::Settings;
use crate::history::{Durability, History, Key};
use crate::idle::idle;
use crate::interposed;
use crate::plan::{Fault, Operation, Plan};
use crate::scenario::event_of;
use crate::trace::TraceSink;
use crate::verdict::{Color, GENERATOR, PlantedRun, Report, Verdict};
use crate::watch::{self, Watcher};
use crate::workload::{self, Context};
use crate::world::{self, BrokerState, Nemesis, Nodes, World};

const NANOS_PER_MS: u64 = 1_000_000;
/// How long a first start may take, in simulated milliseconds.
const START_MS_MAX: u64 = 60_000;
/// How long clients may go on after the last step's time before they are stopped, in milliseconds.
const LATE_MS: u64 = 5_000;

/// How long one task of the judge may take, in simulated milliseconds: each has bounds of its own, which are smaller.
const JUDGE_MS_MAX: u64 = 300_000;
/// How long the last reads may take, in simulated milliseconds.
const FINAL_READS_MS_MAX: u64 = 60_000;

/// How a run is watched.
#[derive(Default)]
pub struct Options {
    /// Where the trace is written, if anywhere.
    pub trace: Option<Box<dyn Write>>,
    /// The planted bug that acts.
    pub planted: Option<Plant>,
    /// Whether nobody judges: to see that judging changes nothing.
    pub without_checkers: bool,
    /// Whether whoever reaches past the simulation for a file, a socket, a thread or entropy ends the process, from
    /// this run's beginning on and for ever. For processes that do nothing else.
    pub ends_at_leaks: bool,
    /// Whether whoever does so is named; otherwise a second run tells.
    pub names_leaks: bool,
}

/// What is left of a run.
pub struct Outcome {
    /// What it says.
    pub verdict: Verdict,
    /// What clients saw.
    pub history: crate::history::History,
}

/// Runs `plan`.
///
/// # Panics
/// Never by what the run does: a panic of a node is a finding.
pub fn run(plan: &Plan, options: Options) -> Outcome {
    let sink = TraceSink::new(options.trace);
    runtime_trace::set_sink(Some(Rc::clone(&sink) as Rc<dyn runtime_trace::Sink>));
    watch::begin((!options.without_checkers).then(|| settings(plan)));
    Plant::choose(options.planted);
    interposed::begin();
    let world = make_world(plan, &sink);
    World::set_current(Some(Rc::clone(&world)));
    let cpu = cpu_ms();
    let ended = Rc::new(Cell::new(0));
    let at_end = Rc::clone(&ended);
    let inside = Rc::clone(&world);
    let entropy_calls = interposed::entropy_calls();
    let (ends_at_leaks, names_leaks) = (options.ends_at_leaks, options.names_leaks);
    let result = catch(|| {
        runtime::simulated::run(plan.seed, async move {
            if ends_at_leaks {
                watch_for_leaks(&inside, entropy_calls, names_leaks);
            }
            supervise(inside).await;
            at_end.set(now_nanos());
        });
    });
    let asked_for = interposed::take();
    sink.close();
    runtime_trace::set_sink(None);
    if let Err(message) = result {
        let at_us = sink.last_nanos() / 1_000;
        world.reports.borrow_mut().insert(
            0,
            Report {
                checker: "panic".into(),
                object: sink.last_node(),
                message,
                at_us,
            },
        );
        ended.set(sink.last_nanos());
    }
    World::set_current(None);
    for (call, caller) in &asked_for.callers {
        let count = asked_for.count;
        let message = format!("from {caller}, past the runtime ({count} such calls)");
        world.report_at(0, "leak", call, message);
    }
    damaged_answers(&world);
    let history = world.clients.history.take().finish();
    let mut work = world.work.take();
    if !options.without_checkers {
        judge_all(&world, &history, &mut work);
    }
    let cpu_ms = cpu_ms() - cpu;
    let mut verdict = verdict(&world, &sink, options.planted, ended.get(), cpu_ms);
    verdict.work = work;
    Outcome { verdict, history }
}

fn make_world(plan: &Plan, sink: &Rc<TraceSink>) -> Rc<World> {
    let clients = Rc::new(Context::new(plan, world::bootstrap(plan)));
    let observers = (0..plan.brokers.len())
        .map(|index| Some(Watcher::new(plan.brokers[index].id) as Arc<dyn Observer>))
        .collect();
    Rc::new(World {
        plan: plan.clone(),
        sink: Rc::clone(sink),
        clients,
        brokers: plan
            .brokers
            .iter()
            .map(|_| BrokerState::default())
            .collect(),
        observers,
        reports: RefCell::default(),
        moved: Notify::new(),
        workload: Notify::new(),
        power_losses: RefCell::default(),
        has_final_reads: Cell::new(false),
        work: RefCell::default(),
        clients_done: Cell::new(0),
    })
}

/// Runs `story`; what it panics with, in words.
fn catch(story: impl FnOnce()) -> Result<(), String> {
    let place = Arc::new(std::sync::Mutex::new(String::new()));
    let told = Arc::clone(&place);
    std::panic::set_hook(Box::new(move |info| {
        let mut told = told.lock().expect("nothing panics under the lock");
        if told.is_empty() {
            *told = info.to_string();
        }
    }));
    let result = std::panic::catch_unwind(std::panic::AssertUnwindSafe(story));
    let _ = std::panic::take_hook();
    result.map_err(|_| {
        let told = place.lock().expect("nothing panics under the lock");
        told.replace('\n', " ")
    })
}

/// The supervisor's whole task.
async fn supervise(world: Rc<World>) {
    let nodes = Rc::new(world::build(&Handle::current(), &world));
    let mut nemesis = Nemesis::new(&world, &nodes);
    if !start(&world, &mut nemesis).await {
        world.report(
            "L8",
            "cluster",
            "no broker serves after its first start".into(),
        );
        return;
    }
    if !set_up(&world, &nodes, &mut nemesis).await {
        return;
    }
    safety(&world, &mut nemesis).await;
    runtime_trace::emit("phase", &[("name", runtime_trace::Value::Text("healing"))]);
    nemesis.heal();
    liveness(&world, &nodes, &mut nemesis).await;
    if all_serve(&world) {
        runtime_trace::emit("phase", &[("name", runtime_trace::Value::Text("idle"))]);
        idle(&world, &nodes, &mut nemesis).await;
    }
    runtime_trace::emit("phase", &[("name", runtime_trace::Value::Text("end"))]);
    // What comes after is only cleaning up.
    world.sink.close();
}

fn all_serve(world: &World) -> bool {
    world.brokers.iter().all(BrokerState::is_serving)
}

/// Waits until every broker serves for the first time.
async fn start(world: &Rc<World>, nemesis: &mut Nemesis) -> bool {
    nemesis
        .run_until(START_MS_MAX * NANOS_PER_MS, all_serve)
        .await;
    all_serve(world)
}

/// Lets the judge do something while the nemesis goes on.
async fn with_judge<F>(nodes: &Nodes, nemesis: &mut Nemesis, work: F) -> Option<F::Output>
where
    F: Future + 'static,
    F::Output: 'static,
{
    let done: Rc<RefCell<Option<F::Output>>> = Rc::default();
    let tell = Rc::clone(&done);
    let task = runtime::simulated::nodes::spawn_on(nodes.judge, async move {
        let output = work.await;
        *tell.borrow_mut() = Some(output);
        World::current().moved.notify_one();
    });
    let watched = Rc::clone(&done);
    let end = now_nanos() + JUDGE_MS_MAX * NANOS_PER_MS;
    nemesis
        .run_until(end, move |_| watched.borrow().is_some())
        .await;
    task.abort();
    done.take()
}

/// Lets the judge make the topics.
async fn set_up(world: &Rc<World>, nodes: &Nodes, nemesis: &mut Nemesis) -> bool {
    let clients = Rc::clone(&world.clients);
    let work = async move { workload::judge::set_up(&clients).await };
    match with_judge(nodes, nemesis, work).await {
        Some(Ok(())) => true,
        Some(Err(error)) => {
            world.report("L4", "cluster", format!("topics cannot be made: {error}"));
            false
        }
        None => {
            world.report("L4", "cluster", "topics are not made in time".into());
            false
        }
    }
}

/// The phase in which faults come: nothing may be lost, whatever happens.
async fn safety(world: &Rc<World>, nemesis: &mut Nemesis) {
    let began = now_nanos();
    world.sink.workload_begins(began);
    for mark in &world.plan.must_hit {
        if let Some(event) = event_of(mark) {
            world.sink.await_mark(mark, event);
        }
    }
    world.clients.began_nanos.set(began.max(1));
    world.workload.notify_waiters();
    runtime_trace::emit("phase", &[("name", runtime_trace::Value::Text("workload"))]);
    nemesis.begin();
    let duration_ms = world.plan.duration_ms;
    let clients = world.plan.clients.len();
    nemesis
        .run_until(began + duration_ms * NANOS_PER_MS, |_| false)
        .await;
    nemesis
        .run_until(began + (duration_ms + LATE_MS) * NANOS_PER_MS, |world| {
            world.clients_done.get() == clients
        })
        .await;
}

/// The phase after the faults: what can make progress has to, and everything is read.
async fn liveness(world: &Rc<World>, nodes: &Rc<Nodes>, nemesis: &mut Nemesis) {
    let end = now_nanos() + world.plan.healing_ms_max * NANOS_PER_MS;
    nemesis.run_until(end, all_serve).await;
    let lives = world
        .brokers
        .iter()
        .map(|broker| u64::from(broker.lives.get()));
    world.looked("L8", lives.sum());
    if !all_serve(world) {
        return report_down(world);
    }
    let clients = Rc::clone(&world.clients);
    let work = async move { workload::judge::producing(&clients).await };
    let produced = with_judge(nodes, nemesis, work).await;
    judged(world, "L4", "producing", produced);
    let clients = Rc::clone(&world.clients);
    let work = async move { workload::judge::groups(&clients).await };
    let grouped = with_judge(nodes, nemesis, work).await;
    judged(world, "L7", "groups", grouped);
    let clients = Rc::clone(&world.clients);
    let work = async move {
        let world = World::current();
        world.looked("L4", clients.produced.get());
        world.looked("L7", clients.groups_judged.get());
        let deadline = now_nanos() + FINAL_READS_MS_MAX * NANOS_PER_MS;
        let found = workload::judge::final_reads(&clients, deadline).await;
        world.looked("L5", (found.ends.len() + found.missing.len()) as u64);
        found.reports
    };
    let read = with_judge(nodes, nemesis, work).await;
    world.has_final_reads.set(read.is_some());
    judged(world, "L5", "the last reads", read);
}

/// Takes in what a task of the judge found, or that it did not end.
fn judged(world: &World, checker: &str, task: &str, found: Option<Vec<Report>>) {
    match found {
        Some(reports) => world.reports.borrow_mut().extend(reports),
        None => world.report(checker, "judge", format!("it never ends: {task}")),
    }
}

fn report_down(world: &World) {
    for (index, broker) in world.brokers.iter().enumerate() {
        if !broker.is_serving() {
            let phase = broker.phase.borrow().clone();
            let object = format!("broker-{}", world.plan.brokers[index].id);
            let message = format!("does not serve after healing: {phase:?}");
            world.report("L8", &object, message);
        }
    }
}

/// What the plan permits.
fn settings(plan: &Plan) -> Settings {
    let offsets = Context::new(plan, Vec::new()).class_of("__consumer_offsets");
    Settings {
        commits_are_replicated: offsets == Durability::Replicated,
        offsets_expire: offsets_expire(plan),
        producers_expire: producers_expire(plan),
        first_sequences: plan
            .clients
            .iter()
            .map(|client| client.setting("first_sequence", 0) as i32)
            .collect(),
        ..Settings::default()
    }
}

/// Whether committed offsets go within the time of a run.
fn offsets_expire(plan: &Plan) -> bool {
    let mut brokers = plan.brokers.iter();
    brokers.any(|broker| broker.options.contains_key("offsets.retention.minutes"))
}

/// Whether producers are forgotten within the time of a run.
fn producers_expire(plan: &Plan) -> bool {
    let mut brokers = plan.brokers.iter();
    brokers.any(|broker| broker.options.contains_key("producer.id.expiration.ms"))
}

/// Whether a producer may be forgotten that sends again what was appended: a producer's silence is measured by the wall
/// clock, and without a step of that it is longer than anybody tries to deliver.
fn forgets_retries(plan: &Plan) -> bool {
    let mut faults = plan.faults.iter();
    let has_step = faults.any(|planned| matches!(planned.fault, Fault::ClockStep { .. }));
    producers_expire(plan) && has_step
}

/// S39: a reader was given a batch whose checksum is wrong, and nobody had damaged any file.
fn damaged_answers(world: &World) {
    world.looked("S39", 1);
    let skipped = world.clients.skipped.borrow();
    let count = skipped.get("poll: damaged records").copied().unwrap_or(0);
    if count > 0 && world.clients.damaged.borrow().is_empty() {
        let message = format!("{count} answers held batches whose checksum is wrong");
        world.report_at(0, "S39", "readers", message);
    }
}

/// Judges what was seen; what is found joins the world's reports.
fn judge_all(world: &World, history: &History, work: &mut BTreeMap<String, u64>) {
    let (state, excused) = watch::end();
    let expectations = expectations(world, excused);
    let (seen, _) = judge(history, &expectations);
    for report in [state, seen] {
        for (checker, count) in &report.work {
            *work.entry(checker.to_string()).or_default() += count;
        }
        for finding in report.findings {
            let operations = finding.operations.iter();
            let shown_by = operations
                .filter_map(|&index| history.operations.get(index as usize))
                .map(|operation| operation.time)
                .max();
            let at_nanos = finding.at_nanos.or(shown_by).unwrap_or_default();
            world.reports.borrow_mut().push(Report {
                checker: finding.checker.to_string(),
                object: finding.object,
                message: finding.message,
                at_us: at_nanos / 1_000,
            });
        }
    }
    // Of those at one moment the simulator's own come first, then the checkers of state.
    world
        .reports
        .borrow_mut()
        .sort_by_key(|report| report.at_us);
}

/// What the run knows and the history does not.
fn expectations(
    world: &World,
    excused: BTreeMap<Key, Vec<crate::checkers::history::Excused>>,
) -> Expectations {
    let mut expectations = Expectations {
        power_losses: world.power_losses.borrow().clone(),
        final_polls: world.has_final_reads.get(),
        forgets_retries: forgets_retries(&world.plan),
        names: world.clients.names.borrow().clone(),
        ..Expectations::default()
    };
    for (&key, &class) in world.clients.classes.borrow().iter() {
        expectations.keys.entry(key).or_default().class = class;
    }
    for (key, excused) in excused {
        expectations.keys.entry(key).or_default().excused = excused;
    }
    if offsets_expire(&world.plan) {
        for group in groups_of(&world.plan) {
            expectations.groups.entry(group).or_default().may_expire = true;
        }
    }
    for &key in world.clients.fenced.borrow().iter() {
        expectations.keys.entry(key).or_default().is_fenced = true;
    }
    for &key in world.clients.overwritten.borrow().iter() {
        expectations.keys.entry(key).or_default().is_overwritten = true;
    }
    expectations
}

/// The groups that clients are members of, or commit for.
fn groups_of(plan: &Plan) -> BTreeSet<String> {
    let clients = plan.clients.iter();
    let members = clients.clone().filter_map(|client| client.group.clone());
    let steps = clients.flat_map(|client| &client.steps);
    let committed_for = steps.filter_map(|step| match &step.operation {
        Operation::CommitFor { group, .. } => Some(group.clone()),
        _ => None,
    });
    members.chain(committed_for).collect()
}

fn verdict(
    world: &World,
    sink: &TraceSink,
    planted: Option<Plant>,
    ended_nanos: u64,
    cpu_ms: u64,
) -> Verdict {
    let mut reports = world.reports.take();
    // What has no time is of the whole run.
    reports.sort_by_key(|report| (report.at_us == 0, report.at_us));
    let marks = sink.marks();
    let missed: Vec<String> = world
        .plan
        .must_hit
        .iter()
        .filter(|mark| !marks.contains_key(*mark))
        .cloned()
        .collect();
    let color = match (reports.is_empty(), missed.is_empty()) {
        (false, _) => Color::Red,
        (true, false) => Color::Stale,
        (true, true) => Color::Green,
    };
    Verdict {
        seed: world.plan.seed,
        profile: world.plan.profile,
        generator: GENERATOR,
        commit: String::new(),
        color,
        reports,
        trace_hash: sink.hash(),
        events: sink.events(),
        simulated_ms: ended_nanos / NANOS_PER_MS,
        cpu_ms,
        faults: sink.faults(),
        marks,
        missed,
        operations: world.clients.outcomes.borrow().clone(),
        work: BTreeMap::new(),
        planted: planted.map(|plant| PlantedRun {
            name: plant.name().to_owned(),
            activations: Plant::activations(),
        }),
    }
}

/// From now on whoever reaches past the simulation ends the process. `entropy_calls` were made before the world was.
fn watch_for_leaks(world: &World, entropy_calls: u64, with_names: bool) {
    if interposed::entropy_calls() == entropy_calls {
        let message = "the hash tables of this thread were seeded before the world was";
        world.report("leak", "hash tables", message.to_owned());
    }
    leaks::arm(with_names).expect("the system takes a filter of calls");
}

/// What the system says this process has used of the processor; opened once, before files are forbidden.
#[expect(
    clippy::disallowed_methods,
    reason = "what a run costs is told beside its trace, never in it"
)]
static PROCESSOR: LazyLock<Option<File>> =
    LazyLock::new(|| File::open("/proc/self/schedstat").ok());

/// Milliseconds of the processor that this process has used.
fn cpu_ms() -> u64 {
    let mut text = [0; 128];
    let read = PROCESSOR.as_ref().map(|file| file.read_at(&mut text, 0));
    let length = read.and_then(Result::ok).unwrap_or(0);
    let text = String::from_utf8_lossy(&text[..length]);
    let nanos: u64 = text
        .split_whitespace()
        .next()
        .and_then(|word| word.parse().ok())
        .unwrap_or(0);
    nanos / 1_000_000
}

#[cfg(test)]
#[path = "run_tests.rs"]
mod tests;
