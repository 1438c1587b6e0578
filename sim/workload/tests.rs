//! A broker, its clients and the judge, without faults.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr};
use std::rc::Rc;
use std::time::Duration;

use broker::config::StaticConfig;
use broker::node::NodeConfig;
use broker::server::authorizer::{Authorizer, Quotas};
use madsim::runtime::Handle;
use runtime::Clock;
use runtime::disk::Disk;
use runtime::simulated::net::Fabric;
use runtime::simulated::nodes;
use runtime::simulated::world::{now_nanos, number_of};
use runtime::time::sleep;
use types::Prng;

use super::judge::{self, FinalReads};
use super::{Context, NANOS_PER_MS, live};
use crate::history::{History, write_lines};
use crate::plan::{Plan, Profile, generate};
use crate::verdict::Report;

const DURATION_MS: u64 = 10_000;
const BROKER: &str = "10.0.0.1";

/// What is left of a run.
struct Ran {
    history: History,
    context: Rc<Context>,
    found: FinalReads,
    reports: Vec<Report>,
}

async fn serve(seed: u64, options: BTreeMap<String, String>) {
    let (disk, clock) = (Disk::new(), Clock::start());
    let mut texts = StaticConfig::embedded("/data/a");
    texts.insert("listeners".into(), format!("PLAINTEXT://{BROKER}:9092"));
    texts.extend(options);
    let (config, _) = StaticConfig::parse(&texts).expect("a good config");
    let mut prng = Prng::new(seed, "format");
    let formatted = broker::node::format(&disk, &config, None, clock.now(), &mut prng).await;
    formatted.expect("a new disk");
    let node = broker::node::start(NodeConfig {
        config,
        disk,
        clock,
        seed,
        cores: 1,
        open_files_max: 400,
        memory_bytes_max: 64 << 20,
        authorizer: Authorizer::AllowAll,
        quotas: Quotas::Unlimited,
        observer: None,
    });
    let node = node.await.expect("the broker starts");
    drop(node.ended().await);
}

/// A node at this address with nothing to do yet.
async fn node(place: u8, last: u8) -> u64 {
    let ip = IpAddr::V4(Ipv4Addr::new(10, 0, place, last));
    let handle = Handle::current();
    let builder = handle.create_node().ip(ip);
    let node = builder.init(|| nodes::live(std::future::pending())).build();
    Fabric::current().set_ip(number_of(node.id()), ip);
    // It has a core from its first turn on.
    sleep(Duration::from_millis(1)).await;
    number_of(node.id())
}

async fn supervise(context: Rc<Context>) -> (FinalReads, Vec<Report>) {
    let plan = context.plan.clone();
    let broker = node(0, 1).await;
    let options = plan.brokers[0].options.clone();
    drop(nodes::spawn_on(broker, serve(plan.seed, options)));
    let judge = node(2, 1).await;
    let own = Rc::clone(&context);
    let set_up = nodes::spawn_on(judge, async move { judge::set_up(&own).await });
    set_up
        .await
        .expect("nobody ends the judge")
        .expect("topics are made");
    context.began_nanos.set(now_nanos());
    let mut lives = Vec::new();
    for (index, client) in plan.clients.iter().enumerate() {
        let client_node = node(1, index as u8 + 1).await;
        let life = live(Rc::clone(&context), client.clone());
        lives.push(nodes::spawn_on(client_node, life));
    }
    for life in lives {
        life.await.expect("nobody ends a client");
    }
    let own = Rc::clone(&context);
    let judged = nodes::spawn_on(judge, async move {
        let mut reports = judge::producing(&own).await;
        reports.append(&mut judge::groups(&own).await);
        let found = judge::final_reads(&own, now_nanos() + 60_000 * NANOS_PER_MS).await;
        (found, reports)
    });
    judged.await.expect("nobody ends the judge")
}

fn run(plan: &Plan) -> Ran {
    let context = Rc::new(Context::new(plan, vec![format!("{BROKER}:9092")]));
    let own = Rc::clone(&context);
    let (found, reports) = runtime::simulated::run(plan.seed, supervise(own));
    Ran {
        history: context.history.take().finish(),
        context,
        found,
        reports,
    }
}

fn short(seed: u64) -> Plan {
    let mut plan = generate(seed, Profile::Calm);
    for client in &mut plan.clients {
        client.steps.retain(|step| step.at_ms < DURATION_MS);
    }
    plan
}

fn text(history: &History) -> String {
    let mut text = Vec::new();
    write_lines(history, &mut text).expect("memory takes it");
    String::from_utf8(text).expect("lines are text")
}

#[test]
fn clients_do_their_steps_and_nothing_is_amiss() {
    for seed in 1..=3 {
        let ran = run(&short(seed));
        println!("seed {seed}: {:#?}", ran.context.outcomes.borrow());
        println!("skipped: {:#?}", ran.context.skipped.borrow());
        if std::env::var_os("HISTORY").is_some() {
            println!("{}", text(&ran.history));
        }
        assert_eq!(ran.reports, [], "seed {seed}");
        assert_eq!(ran.found.reports, [], "seed {seed}");
        assert!(!ran.found.ends.is_empty(), "seed {seed}");
    }
}

#[test]
fn a_history_is_the_same_every_time() {
    let plan = short(4);
    let histories = RefCell::new(Vec::new());
    for _ in 0..2 {
        histories.borrow_mut().push(text(&run(&plan).history));
    }
    let histories = histories.into_inner();
    assert!(histories[0] == histories[1], "two runs of one seed differ");
}
