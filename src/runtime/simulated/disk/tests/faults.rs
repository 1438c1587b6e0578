//! Faults, one by one.

use std::io::ErrorKind;
use std::time::Duration;

use super::*;
use crate::time::sleep;

fn errno<T>(result: io::Result<T>) -> Option<i32> {
    result.err().and_then(|error| error.raw_os_error())
}

#[test]
fn a_fault_lets_by_then_meets_then_ends() {
    in_world(1, |disks| async move {
        let file = create("/file").await;
        let eio = fault(DiskOperation::Read, "fil", Effect::Eio);
        disks.add_fault(
            NODE,
            DiskFault {
                skip: 2,
                times: 3,
                ..eio
            },
        );
        let elsewhere = fault(DiskOperation::Read, "other", Effect::Eio);
        disks.add_fault(
            NODE,
            DiskFault {
                times: u32::MAX,
                ..elsewhere
            },
        );
        let mut failed = Vec::new();
        for _ in 0..7 {
            failed.push(errno(file.read_at(0, 1).await) == Some(5));
        }
        assert_eq!(failed, [false, false, true, true, true, false, false]);
        let other = create("/other").await;
        for _ in 0..20 {
            assert_eq!(errno(other.read_at(0, 1).await), Some(5));
        }
        disks.clear_faults(NODE);
        other.read_at(0, 1).await.unwrap();
    });
}

#[test]
fn every_operation_can_fail_and_says_so_in_the_trace() {
    let (_, lines) = traced(1, |disks| async move {
        let disk = Disk::new();
        let file = create_durable("/file", "x").await;
        let fail = |operation| disks.add_fault(NODE, fault(operation, "", Effect::Eio));
        fail(DiskOperation::Open);
        assert!(disk.open("/file", OpenMode::Read).await.is_err());
        fail(DiskOperation::Read);
        assert!(file.read_at(0, 1).await.is_err());
        fail(DiskOperation::Read);
        assert!(disk.read_file("/file").await.is_err());
        fail(DiskOperation::Write);
        assert!(
            file.write_at(0, vec![Bytes::from_static(b"y")])
                .await
                .is_err()
        );
        fail(DiskOperation::Sync);
        assert!(file.sync_all().await.is_err());
        fail(DiskOperation::SyncDirectory);
        assert!(disk.sync_dir("/").await.is_err());
        fail(DiskOperation::Rename);
        assert!(disk.rename("/file", "/other").await.is_err());
        fail(DiskOperation::Remove);
        assert!(disk.remove_file("/file").await.is_err());
        fail(DiskOperation::Allocate);
        assert!(file.allocate(0, 10).await.is_err());
        fail(DiskOperation::SetLength);
        assert!(file.set_len(10).await.is_err());
        fail(DiskOperation::MakeDirectory);
        assert!(disk.create_dir_all("/d").await.is_err());
        fail(DiskOperation::Look);
        assert!(disk.list_dir("/").await.is_err());
        assert_eq!(disk.list_dir("/").await.unwrap().len(), 1);
    });
    let faults: Vec<&str> = lines
        .iter()
        .filter(|line| line.contains(" disk-fault effect=eio "))
        .filter_map(|line| line.split("operation=").nth(1)?.split(' ').next())
        .collect();
    let expected = [
        "open",
        "read",
        "read",
        "write",
        "sync",
        "sync-dir",
        "rename",
        "remove",
        "allocate",
        "set-length",
        "make-dir",
        "look",
    ];
    assert_eq!(faults, expected);
}

/// The trap: a handle that is opened after a failed sync is told that all is well.
#[test]
fn a_failed_sync_drops_what_it_should_have_written() {
    let seen = with_seeds(60, |disks, _| async move {
        let file = create_durable("/file", "old").await;
        let bystander = open("/file", OpenMode::ReadWrite).await;
        write(&file, 0, "new").await;
        disks.add_fault(NODE, fault(DiskOperation::Sync, "/file", Effect::Eio));
        let failing = file.sync_data();
        let joined = file.sync_data();
        assert_eq!(errno(failing.await), Some(5));
        assert_eq!(errno(joined.await), Some(5));
        assert_eq!(errno(file.sync_data().await), Some(5));
        assert_eq!(errno(bystander.sync_data().await), Some(5));
        assert_eq!(errno(bystander.sync_all().await), Some(5));
        let shown = content("/file").await.unwrap();
        assert!(shown == "old"[..] || shown == "new"[..]);
        let later = open("/file", OpenMode::ReadWrite).await;
        later.sync_all().await.unwrap();
        assert_eq!(disks.file(NODE, "/file").unwrap().length_bytes, 3);
        disks.power_on(NODE, Survival::All);
        let left = content("/file").await.unwrap();
        (shown, left)
    });
    let count = |shown: &str, left: &str| {
        let matching = seen
            .iter()
            .filter(|(one, two)| *one == shown.as_bytes() && *two == left.as_bytes());
        matching.count()
    };
    // Seen and lost, dropped at once, written before the device gave up.
    for (shown, left) in [("new", "old"), ("old", "old"), ("new", "new")] {
        assert!(count(shown, left) > 5, "{shown} {left}");
    }
}

#[test]
fn after_a_failed_sync_new_writes_can_be_synced_by_a_new_handle() {
    with_seeds(20, |disks, _| async move {
        let file = create_durable("/file", "old").await;
        write(&file, 3, "lost").await;
        disks.add_fault(NODE, fault(DiskOperation::Sync, "/file", Effect::Enospc));
        let error = file.sync_data().await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::StorageFull);
        let later = open("/file", OpenMode::ReadWrite).await;
        write(&later, 7, "kept").await;
        later.sync_data().await.unwrap();
        disks.power_on(NODE, Survival::None);
        let left = content("/file").await.unwrap();
        assert_eq!((&left[..3], &left[7..]), (&b"old"[..], &b"kept"[..]));
        assert!(left[3..7] == b"lost"[..] || left[3..7] == [0; 4]);
    });
}

#[test]
fn a_failed_sync_of_a_directory_is_not_made_good_by_the_next() {
    in_world(1, |disks| async move {
        let disk = Disk::new();
        create("/file").await;
        disks.add_fault(NODE, fault(DiskOperation::SyncDirectory, "/", Effect::Eio));
        assert_eq!(errno(disk.sync_dir("/").await), Some(5));
        create("/later").await;
        disk.sync_dir("/").await.unwrap();
        assert!(!disks.file(NODE, "/file").unwrap().is_name_durable);
        assert_eq!(disks.durable_files(NODE), ["/later"]);
    });
}

#[test]
fn a_full_disk_refuses_and_goes_on_when_there_is_room() {
    with_seeds(20, |disks, _| async move {
        let disk = Disk::new();
        disks.set_capacity(NODE, 19 * 4096);
        let file = create_durable("/file", [b'a'; 4096]).await;
        file.allocate(0, 10 * 4096).await.unwrap();
        // The file and its ten pages.
        assert_eq!(disks.used_bytes(NODE), 11 * 4096);
        assert_eq!(disk.free_bytes("/").await.unwrap(), 8 * 4096);
        let error = file.allocate(0, 19 * 4096).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::StorageFull);
        let other = create("/other").await;
        write(&other, 0, [b'b'; 5 * 4096]).await;
        let error = other.write_at(5 * 4096, vec![Bytes::from(vec![b'c'; 4 * 4096])]);
        assert_eq!(error.await.unwrap_err().kind(), ErrorKind::StorageFull);
        // A first part of it may be there.
        assert!(other.len().unwrap() <= 7 * 4096);
        // What was reserved can be written, what is there can be written again.
        write(&file, 4096, [b'a'; 9 * 4096]).await;
        write(&other, 0, [b'd'; 100]).await;
        other.set_len(5 * 4096).await.unwrap();
        file.set_len(2 * 4096).await.unwrap();
        write(&other, 5 * 4096, [b'c'; 4 * 4096]).await;
        disk.remove_file("/file").await.unwrap();
        assert_eq!(
            disks.used_bytes(NODE),
            (1 + 9 + 3) * 4096,
            "it is open still"
        );
        drop(file);
        assert_eq!(disks.used_bytes(NODE), (1 + 9) * 4096);
        disks.add_fault(NODE, fault(DiskOperation::Write, "", Effect::Enospc));
        let error = other.write_at(0, vec![Bytes::from_static(b"x")]).await;
        assert_eq!(error.unwrap_err().kind(), ErrorKind::StorageFull);
        write(&other, 0, "y").await;
    });
}

#[test]
fn a_stalled_file_delays_no_other() {
    in_world(1, |disks| async move {
        let clock = crate::Clock::start();
        let (slow, quick) = (create("/slow").await, create("/quick").await);
        disks.stall(NODE, "/slow", 5_000_000);
        let began = clock.mono();
        let stalled = [slow.sync_data(), slow.set_len(7), slow.allocate(0, 7)];
        for _ in 0..100 {
            write(&quick, 0, "x").await;
            quick.sync_data().await.unwrap();
            write(&slow, 0, "the page cache serves on").await;
            Disk::new().sync_dir("/").await.unwrap();
        }
        assert!(clock.mono().since(began) < Duration::from_secs(1));
        for operation in stalled {
            operation.await.unwrap();
            let took = clock.mono().since(began);
            assert!(took >= Duration::from_secs(5) && took < Duration::from_millis(5_100));
        }
        slow.sync_data().await.unwrap();
        let took = clock.mono().since(began);
        assert!(took < Duration::from_millis(5_200), "{took:?}");
        disks.add_fault(
            NODE,
            fault(DiskOperation::Sync, "/quick", Effect::StallUs(3_000_000)),
        );
        let began = clock.mono();
        let stalled = quick.sync_data();
        slow.sync_data().await.unwrap();
        assert!(clock.mono().since(began) < Duration::from_millis(100));
        stalled.await.unwrap();
        assert!(clock.mono().since(began) >= Duration::from_secs(3));
    });
}

#[test]
fn a_stalled_disk_delays_all_and_a_slower_one_takes_longer() {
    in_world(1, |disks| async move {
        let clock = crate::Clock::start();
        let file = create("/file").await;
        disks.stall(NODE, "", 2_000_000);
        let began = clock.mono();
        assert!(Disk::new().exists("/file").await.unwrap());
        file.sync_data().await.unwrap();
        let took = clock.mono().since(began);
        assert!(took >= Duration::from_secs(2) && took < Duration::from_millis(2_100));
        let time_of_syncs = async |count| {
            let began = clock.mono();
            for _ in 0..count {
                file.sync_data().await.unwrap();
            }
            clock.mono().since(began)
        };
        let quick = time_of_syncs(50).await;
        disks.set_speed(NODE, DiskSpeed::default().slower(30));
        assert!(time_of_syncs(50).await > quick * 10);
    });
}

#[test]
fn writes_of_long_ago_may_turn_out_lost_or_misdirected() {
    in_world(1, |disks| async move {
        let file = create_durable("/file", "aaabbbccc").await;
        assert!(!disks.lose(NODE, "/file", 7, 3), "there are only two");
        assert!(
            !disks.misdirect(NODE, "/file", 0, 3, 7),
            "it would land outside"
        );
        assert!(!disks.misdirect(NODE, "/file", 0, 3, -1));
        assert_eq!(file.read_at(0, 9).await.unwrap(), "aaabbbccc"[..]);
        assert!(disks.misdirect(NODE, "/file", 3, 3, 2));
        assert_eq!(file.read_at(0, 9).await.unwrap(), "aaa\0\0\0bbc"[..]);
        assert!(disks.lose(NODE, "/file", 0, 2));
        disks.power_on(NODE, Survival::All);
        assert_eq!(content("/file").await.unwrap(), "\0\0a\0\0\0bbc"[..]);
        let file = open("/file", OpenMode::ReadWrite).await;
        write(&file, 4, "x").await;
        assert!(
            !disks.lose(NODE, "/file", 3, 2),
            "one of them waits for a sync"
        );
    });
}

#[test]
fn rot_stays_until_the_byte_is_written_again() {
    in_world(1, |disks| async move {
        let file = create_durable("/file", "abc").await;
        assert!(disks.rot(NODE, "/file", 1, 1));
        assert!(!disks.rot(NODE, "/file", 3, 1));
        assert!(!disks.rot(NODE, "/none", 0, 1));
        for _ in 0..3 {
            assert_eq!(file.read_at(0, 9).await.unwrap(), "acc"[..]);
        }
        disks.power_on(NODE, Survival::All);
        let file = open("/file", OpenMode::ReadWrite).await;
        assert_eq!(file.read_at(0, 9).await.unwrap(), "acc"[..]);
        write(&file, 1, "b").await;
        file.sync_data().await.unwrap();
        disks.power_on(NODE, Survival::None);
        assert_eq!(content("/file").await.unwrap(), "abc"[..]);
        // A read may be what meets it.
        disks.add_fault(NODE, fault(DiskOperation::Read, "/file", Effect::Rot));
        let rotten = content("/file").await.unwrap();
        assert_ne!(rotten, "abc"[..]);
        assert_eq!(content("/file").await.unwrap(), rotten);
        disks.power_on(NODE, Survival::All);
        assert_eq!(content("/file").await.unwrap(), rotten);
    });
}

#[test]
fn lost_and_misdirected_writes_are_told_as_done() {
    let misdirected = Effect::MisdirectWrite { by_bytes: -4 };
    let far = Effect::MisdirectWrite { by_bytes: 1 << 40 };
    let before = Effect::MisdirectWrite { by_bytes: -6 };
    let table = [
        (Effect::LoseWrite, "aaaabbbb"),
        (misdirected, "XXXXbbbb"),
        (far, "aaaabbbb"),
        // What would lie before the file lands nowhere.
        (before, "XXaabbbb"),
    ];
    for (effect, expected) in table {
        for operation in [DiskOperation::Write, DiskOperation::Sync] {
            let seen = with_seeds(20, |disks, _| async move {
                let file = create_durable("/file", "aaaabbbb").await;
                disks.add_fault(NODE, fault(operation, "/file", effect));
                write(&file, 4, "XXXX").await;
                file.sync_data().await.unwrap();
                let shown = content("/file").await.unwrap();
                assert!(shown == "aaaaXXXX"[..] || shown == *expected, "{shown:?}");
                let known = disks.file(NODE, "/file").unwrap();
                let is_sound = known.sound_to_bytes == 8;
                assert_eq!(is_sound, shown == *expected);
                disks.power_on(NODE, Survival::All);
                assert_eq!(content("/file").await.unwrap(), *expected);
                shown
            });
            let shown: std::collections::BTreeSet<Bytes> = seen.into_iter().collect();
            assert_eq!(
                shown.len(),
                2,
                "{effect:?}: from the cache, and from the device"
            );
        }
    }
}

#[test]
fn a_device_that_fails_for_good_keeps_what_it_has() {
    in_world(1, |disks| async move {
        let file = create_durable("/file", "x").await;
        let dead = fault(DiskOperation::Any, "", Effect::Eio);
        disks.add_fault(
            NODE,
            DiskFault {
                times: u32::MAX,
                ..dead
            },
        );
        for _ in 0..3 {
            assert!(file.read_at(0, 1).await.is_err());
            assert!(Disk::new().list_dir("/").await.is_err());
            sleep(Duration::from_secs(1)).await;
        }
        disks.clear_faults(NODE);
        assert_eq!(content("/file").await.unwrap(), "x"[..]);
    });
}

#[test]
fn whatever_fires_is_told() {
    let (_, lines) = traced(1, |disks| async move {
        let file = create_durable("/file", "abc").await;
        disks.stall(NODE, "", 1_000);
        file.sync_data().await.unwrap();
        disks.set_capacity(NODE, 4096);
        assert!(file.allocate(0, 1 << 20).await.is_err());
        let many = vec![Bytes::from(vec![0; 1 << 20])];
        assert!(file.write_at(0, many).await.is_err());
        disks.rot(NODE, "/file", 0, 1);
        for effect in [Effect::LoseWrite, Effect::MisdirectWrite { by_bytes: 1 }] {
            disks.add_fault(NODE, fault(DiskOperation::Write, "", effect));
            write(&file, 0, "x").await;
        }
        let image = disks.copy_image(NODE);
        disks.wipe(NODE);
        disks.restore_image(NODE, &image);
    });
    let told: Vec<&str> = lines
        .iter()
        .filter_map(|line| line.split(" 0 disk-").nth(1)?.split(" file").next())
        .collect();
    let expected = [
        "fault effect=stall operation=sync",
        "fault effect=enospc operation=allocate",
        "fault effect=enospc operation=write",
        "fault effect=rot operation=any",
        "fault effect=lose-write operation=write",
        "fault effect=misdirect-write operation=write",
        "wipe",
        "restore",
    ];
    assert_eq!(told, expected);
}
