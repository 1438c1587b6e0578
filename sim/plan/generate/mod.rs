//! From a seed to a plan, by swarm: every seed draws another configuration, other clients and other fault kinds.
//!
//! Each part of a plan comes from a stream of its own, so that another fault changes nothing of the workload.

mod clients;
mod faults;

use std::collections::BTreeMap;

use super::draw::Draw;
use super::{BrokerPlan, FORMAT, LinkPlan, Plan, Profile, TopicPlan};

/// Simulated milliseconds of a generated run, before it heals.
const DURATION_MS: u64 = 120_000;
/// Simulated milliseconds that healing may take.
const HEALING_MS_MAX: u64 = 60_000;

/// The plan of a seed.
pub fn generate(seed: u64, profile: Profile) -> Plan {
    let brokers = vec![broker(seed, 1)];
    let topics = topics(seed);
    let clients = clients::generate(seed, DURATION_MS, &topics);
    let mut plan = Plan {
        format: FORMAT,
        seed,
        profile,
        duration_ms: DURATION_MS,
        healing_ms_max: HEALING_MS_MAX,
        link: link(seed),
        brokers,
        topics,
        clients,
        faults: Vec::new(),
        must_hit: Vec::new(),
    };
    plan.faults = faults::generate(seed, profile, &plan);
    plan
}

fn link(seed: u64) -> LinkPlan {
    let mut draw = Draw::new(seed, "plan link");
    let has_tail = draw.one_in(3);
    LinkPlan {
        latency_us: draw.small(30, 3_000) as u32,
        jitter_us: draw.small(0, 3_000) as u32,
        tail_one_in: if has_tail {
            draw.between(50, 500) as u32
        } else {
            0
        },
        tail_factor: draw.between(2, 50) as u32,
        bytes_per_second: draw.pick(&[1_000_000, 12_500_000, 125_000_000]),
        window_bytes: draw.pick(&[4 << 10, 16 << 10, 64 << 10, 256 << 10]),
        chunk_bytes_max: draw.pick(&[64, 1 << 10, 16 << 10, 64 << 10]),
    }
}

fn broker(seed: u64, id: i32) -> BrokerPlan {
    let mut draw = Draw::new(seed, &format!("plan broker {id}"));
    BrokerPlan {
        id,
        cores: draw.weighted(&[(5, 1), (3, 2), (1, 3), (1, 4)]),
        open_files_max: draw.pick(&[24, 64, 400]),
        memory_bytes_max: draw.pick(&[8 << 20, 64 << 20]),
        disk_bytes: 1 << 30,
        sync_us_max: draw.pick(&[200, 1_000, 10_000, 60_000]),
        clock_offset_ms: draw.between(0, 4_000) as i64 - 2_000,
        clock_drift_ppm: draw.between(0, 400) as i32 - 200,
        options: options(&mut draw),
    }
}

/// Settings of a broker, tiny limits included.
fn options(draw: &mut Draw) -> BTreeMap<String, String> {
    let mut options = BTreeMap::new();
    let mut set = |key: &str, value: String| {
        options.insert(key.to_owned(), value);
    };
    let segment = match draw.one_in(3) {
        true => 1_024,
        false => draw.small(1, 64) << 10,
    };
    set("internal.segment.bytes", segment.to_string());
    set(
        "internal.index.interval.bytes",
        draw.pick(&[1, 256, 1_024, 4_096]).to_string(),
    );
    set(
        "internal.metadata.log.segment.bytes",
        draw.pick(&[2_048, 16_384, 1 << 20]).to_string(),
    );
    set(
        "metadata.log.max.record.bytes.between.snapshots",
        draw.pick(&[1_024, 8_192, 1 << 20]).to_string(),
    );
    set(
        "internal.producer.id.block.size",
        draw.pick(&[1, 2, 10, 1_000]).to_string(),
    );
    set(
        "max.incremental.fetch.session.cache.slots",
        draw.pick(&[0, 1, 2, 1_000]).to_string(),
    );
    set(
        "offsets.topic.num.partitions",
        draw.between(1, 3).to_string(),
    );
    set(
        "group.initial.rebalance.delay.ms",
        draw.pick(&[0, 100, 1_000]).to_string(),
    );
    set("group.min.session.timeout.ms", "1000".into());
    set(
        "log.retention.check.interval.ms",
        draw.pick(&[500, 2_000, 10_000]).to_string(),
    );
    set(
        "log.segment.delete.delay.ms",
        draw.pick(&[0, 100, 5_000]).to_string(),
    );
    set(
        "replica.high.watermark.checkpoint.interval.ms",
        draw.pick(&[500, 5_000]).to_string(),
    );
    set("auto.create.topics.enable", draw.one_in(2).to_string());
    if draw.one_in(3) {
        set("offsets.retention.minutes", "1".into());
        set("offsets.retention.check.interval.ms", "2000".into());
    }
    if draw.one_in(3) {
        set("log.preallocate", "true".into());
    }
    if draw.one_in(4) {
        set("log.dirs", "/data/a,/data/b".into());
    }
    if draw.one_in(4) {
        set(
            "internal.dirty.bytes.max",
            draw.pick(&[16 << 10, 256 << 10]).to_string(),
        );
    }
    expire_producers(draw, &mut set);
    size_journals(draw, &mut set);
    options
}

/// Halves that are full after a few groups, after many, and no journal at all.
fn size_journals(draw: &mut Draw, set: &mut impl FnMut(&str, String)) {
    let half = draw.pick(&[8 << 10, 16 << 10, 64 << 10, 256 << 10, 0]);
    set("internal.journal.half.bytes", half.to_string());
}

/// One plan in five forgets producers, after longer than any client tries to deliver: who sends again is still known.
fn expire_producers(draw: &mut Draw, set: &mut impl FnMut(&str, String)) {
    if draw.one_in(5) {
        let millis = draw.pick(&[80_000, 100_000]);
        set("producer.id.expiration.ms", millis.to_string());
        let millis = draw.pick(&[1_000, 10_000]);
        set(
            "producer.id.expiration.check.interval.ms",
            millis.to_string(),
        );
    }
}

fn topics(seed: u64) -> Vec<TopicPlan> {
    let mut draw = Draw::new(seed, "plan topics");
    let count = draw.between(2, 4);
    (0..count)
        .map(|index| TopicPlan {
            name: format!("t{index}"),
            partitions: draw.between(1, 3) as i32,
            configs: topic_configs(&mut draw, index),
        })
        .collect()
}

fn topic_configs(draw: &mut Draw, index: u64) -> BTreeMap<String, String> {
    let mut configs = BTreeMap::new();
    let mut set = |key: &str, value: &str| {
        configs.insert(key.to_owned(), value.to_owned());
    };
    // The first topic keeps everything, flushed: what is acknowledged there is never excused.
    if index > 0 {
        if draw.one_in(2) {
            set(
                "flush.messages",
                draw.pick(&["1000", "9223372036854775807", "5"]),
            );
            set(
                "flush.ms",
                draw.pick(&["500", "5000", "9223372036854775807"]),
            );
        }
        match draw.between(0, 5) {
            0 | 1 => set("retention.bytes", draw.pick(&["1024", "4096", "65536"])),
            2 => set("retention.ms", draw.pick(&["2000", "5000", "30000"])),
            _ => {}
        }
    }
    if draw.one_in(4) {
        set("message.timestamp.type", "LogAppendTime");
    }
    if draw.one_in(4) {
        set(
            "compression.type",
            draw.pick(&["gzip", "snappy", "lz4", "zstd", "uncompressed"]),
        );
    }
    if draw.one_in(4) {
        set("segment.ms", draw.pick(&["2000", "20000"]));
    }
    configs
}
