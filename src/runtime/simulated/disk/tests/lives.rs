//! Lives of a process, and the seed.

use std::cell::Cell;
use std::time::Duration;

use madsim::runtime::Handle;

use super::*;
use crate::simulated::nodes;
use crate::simulated::world::{now_nanos, number_of};
use crate::task::spawn_local;
use crate::time::{sleep, timeout};

#[test]
fn a_power_loss_takes_effect_at_its_exact_point() {
    /// Takes the power away inside the second write.
    struct Trigger(Cell<u32>);
    impl Sink for Trigger {
        fn event(&self, event: &Event<'_>) {
            if event.kind == "write" {
                self.0.set(self.0.get() + 1);
                if self.0.get() == 2 {
                    Disks::current().power_off(event.node);
                }
            }
        }
    }
    set_sink(Some(Rc::new(Trigger(Cell::new(0)))));
    in_world(1, |disks| async move {
        let file = create_durable("/file", "").await;
        let disk = Disk::new();
        assert!(disks.is_on(NODE));
        let mut second = file.write_at(0, vec![Bytes::from_static(b"second")]);
        assert!(!disks.is_on(NODE));
        // The process is gone and learns of nothing.
        assert!(second.try_take().is_none());
        let wait = Duration::from_secs(10);
        assert!(timeout(wait, second).await.is_err());
        let third = file.write_at(6, vec![Bytes::from_static(b"third")]);
        assert!(timeout(wait, third).await.is_err());
        assert!(timeout(wait, disk.exists("/file")).await.is_err());
        assert!(timeout(wait, file.sync_data()).await.is_err());
        assert_eq!(disks.refused(NODE), 3);
        assert!(file.len().is_err());
        disks.power_on(NODE, Survival::All);
        // Also when the power is back.
        assert!(timeout(wait, file.sync_data()).await.is_err());
        drop(file.write_at(0, vec![Bytes::from_static(b"of an earlier life")]));
        drop((file, disk));
        assert_eq!(content("/file").await.unwrap(), "second"[..]);
    });
    set_sink(None);
}

/// A destructor that works on: it runs after the crash.
struct LastWill(File, Disk);

impl Drop for LastWill {
    fn drop(&mut self) {
        drop(self.0.write_at(0, vec![Bytes::from_static(b"will")]));
        drop(self.0.set_len(0));
        drop(self.0.sync_all());
        drop(self.1.rename("/file", "/stolen"));
        drop(self.1.remove_file("/file"));
        drop(self.1.open("/new", OpenMode::Create));
    }
}

async fn life() {
    let disk = Disk::new();
    let _lock = disk.lock_file("/lock").await.unwrap();
    let file = disk.open("/file", OpenMode::Create).await.unwrap();
    let length = file.len().unwrap();
    write(&file, length, "x").await;
    let will = LastWill(file, disk);
    spawn_local(async move {
        let _will = will;
        sleep(Duration::from_secs(1_000)).await;
    });
    std::future::pending::<()>().await;
}

#[test]
fn destructors_of_a_killed_process_change_nothing() {
    for power in [false, true] {
        in_world(1, |disks| async move {
            let world = Handle::current();
            let node = world.create_node().init(|| nodes::live(life())).build();
            let number = number_of(node.id());
            for start in 1..=3usize {
                sleep(Duration::from_secs(1)).await;
                let length = disks.file(number, "/file").unwrap().length_bytes;
                assert_eq!(length, start as u64);
                if power {
                    nodes::power_off(node.id());
                    nodes::power_on(node.id(), Survival::All);
                } else {
                    nodes::kill(node.id());
                }
                sleep(Duration::from_secs(1)).await;
                let paths: Vec<String> = disks
                    .files(number)
                    .into_iter()
                    .map(|view| view.path)
                    .collect();
                assert_eq!(paths, ["/file", "/lock"]);
                let written = disks.cached_bytes(number, "/file").unwrap();
                assert_eq!(written, "x".repeat(start));
                assert_eq!(disks.refused(number), 6 * start as u64);
                nodes::start(node.id());
            }
        });
    }
}

#[test]
fn a_killed_process_leaves_the_page_cache_and_its_syncs() {
    in_world(1, |disks| async move {
        let file = create_durable("/file", "").await;
        write(&file, 0, "one").await;
        drop(file.sync_data());
        write(&file, 3, "two").await;
        let open = create("/open").await;
        write(&open, 0, [0; 10_000]).await;
        Disk::new().remove_file("/open").await.unwrap();
        assert_eq!(disks.used_bytes(NODE), (2 + 4) * 4096);
        disks.process_died(NODE);
        assert_eq!(disks.used_bytes(NODE), 2 * 4096);
        sleep(Duration::from_secs(1)).await;
        assert_eq!(content("/file").await.unwrap(), "onetwo"[..]);
        assert_eq!(disks.durable_bytes(NODE, "/file").unwrap(), "one"[..]);
    });
}

/// Writes, syncs and names; the moments of it are in the trace.
async fn busy(path: &'static str, also_names: bool) {
    let file = create(path).await;
    for round in 0..30 {
        write(&file, round, "x").await;
        if also_names {
            Disk::new().exists(path).await.unwrap();
        }
        file.sync_data().await.unwrap();
    }
}

#[test]
fn a_seed_decides_the_run() {
    let run = |seed| {
        let story = |disks: Disks| async move {
            let tasks = ["/a", "/b", "/c"].map(|path| spawn_local(busy(path, true)));
            disks.add_fault(NODE, fault(DiskOperation::Sync, "/d", Effect::Eio));
            let file = create("/d").await;
            write(&file, 0, [1; 5000]).await;
            assert!(file.sync_data().await.is_err());
            for task in tasks {
                task.await.unwrap();
            }
            let file = open("/a", OpenMode::ReadWrite).await;
            for round in 0..20 {
                write(&file, round * 700, [2; 900]).await;
            }
            disks.power_off(NODE);
            disks.power_on(NODE, Survival::Mixed);
            disks.cached_bytes(NODE, "/a")
        };
        traced(seed, story)
    };
    assert_eq!(run(7), run(7));
    assert_ne!(run(7).1, run(8).1);
    assert!(
        run(7)
            .1
            .iter()
            .any(|line| line.contains("power-on survival=mixed"))
    );
}

/// How long each sync of `/a` took.
fn sync_times(also_names: bool, seed: u64) -> Vec<String> {
    let (_, lines) = traced(seed, |_| busy("/a", also_names));
    lines
        .into_iter()
        .filter(|line| line.contains(" sync "))
        .map(|line| line.split("takes_us=").nth(1).unwrap().to_owned())
        .collect()
}

#[test]
fn operations_of_one_kind_do_not_shift_those_of_another() {
    assert_eq!(sync_times(false, 3), sync_times(true, 3));
    assert_eq!(sync_times(false, 3).len(), 30);
    assert_ne!(sync_times(false, 3), sync_times(false, 4));
}

#[test]
fn nodes_have_disks_and_streams_of_their_own() {
    let run = |second: bool| {
        let story = |_: Disks| async move {
            let world = Handle::current();
            let one = world.create_node().build();
            let two = world.create_node().build();
            if second {
                two.spawn(async { busy("/a", true).await });
            }
            one.spawn(async { busy("/a", true).await }).await.unwrap();
            sleep(Duration::from_secs(1)).await;
        };
        let (_, lines) = traced(5, story);
        let syncs = lines.into_iter().filter(|line| line.contains(" 1 sync "));
        syncs
            .map(|line| line.split("takes_us=").nth(1).unwrap().to_owned())
            .collect::<Vec<_>>()
    };
    assert_eq!(run(true), run(false));
}

#[test]
fn moments_are_whole_microseconds_and_some_cached_operations_end_late() {
    in_world(1, |disks| async move {
        disks.set_speed(
            NODE,
            DiskSpeed {
                cached_late_one_in: 2,
                ..DiskSpeed::default()
            },
        );
        let file = create("/file").await;
        let (mut inline, mut late) = (0, 0);
        for _ in 0..100 {
            let mut written = file.write_at(0, vec![Bytes::from_static(b"x")]);
            match written.try_take() {
                Some(result) => {
                    result.unwrap();
                    inline += 1;
                }
                None => {
                    written.await.unwrap();
                    late += 1;
                    assert_eq!(now_nanos() % 1_000, 0);
                }
            }
        }
        assert!(inline > 20 && late > 20, "{inline} {late}");
    });
}
