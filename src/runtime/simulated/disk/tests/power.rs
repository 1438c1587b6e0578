//! What a power loss leaves, kind by kind.

use std::collections::BTreeSet;

use super::*;

const SURVIVALS: [Survival; 6] = [
    Survival::All,
    Survival::None,
    Survival::Prefix,
    Survival::Torn,
    Survival::Reordered,
    Survival::Mixed,
];

/// The un-synced changes of the stories below: writes, a cut, and a write after it.
const CHANGES: [(u64, u8, usize); 4] = [
    (1000, b'b', 2000),
    (0, b'd', 100),
    (2500, 0, 0),
    (2500, b'e', 1500),
];

fn apply(content: &mut Vec<u8>, (offset, byte, length): (u64, u8, usize)) {
    let from = offset as usize;
    if length == 0 {
        content.resize(from, 0);
    } else {
        content.resize(content.len().max(from + length), 0);
        content[from..from + length].fill(byte);
    }
}

/// The file after the changes of which `bits` has the bit.
fn after(bits: usize) -> Vec<u8> {
    let mut content = vec![b'a'; 1000];
    for (index, change) in CHANGES.into_iter().enumerate() {
        if bits & (1 << index) != 0 {
            apply(&mut content, change);
        }
    }
    content
}

async fn lose(disks: &Disks, survival: Survival) -> (Vec<u8>, PowerLoss) {
    let file = create_durable("/file", [b'a'; 1000]).await;
    for (offset, byte, length) in CHANGES {
        if length == 0 {
            file.set_len(offset).await.unwrap();
        } else {
            write(&file, offset, vec![byte; length]).await;
        }
    }
    assert_eq!(content("/file").await.unwrap(), after(15));
    assert_eq!(disks.durable_bytes(NODE, "/file").unwrap(), after(0));
    disks.power_off(NODE);
    let loss = disks.power_on(NODE, survival);
    (content("/file").await.unwrap().to_vec(), loss)
}

#[test]
fn un_synced_writes_survive_as_their_kind_says() {
    for survival in SURVIVALS {
        let allowed: Vec<Vec<u8>> = match survival {
            Survival::All => vec![after(15)],
            Survival::None => vec![after(0)],
            Survival::Prefix => [0, 1, 3, 7, 15].map(after).to_vec(),
            Survival::Reordered => (0..16).map(after).collect(),
            Survival::Torn | Survival::Mixed => Vec::new(),
        };
        let allowed = &allowed;
        let seen: BTreeSet<Vec<u8>> = with_seeds(60, |disks, _| async move {
            let (left, loss) = lose(&disks, survival).await;
            let count = loss.writes_kept + loss.writes_torn + loss.writes_lost;
            assert_eq!(count, 4, "{survival:?}");
            assert!(
                allowed.is_empty() || allowed.contains(&left),
                "{survival:?}"
            );
            left
        })
        .into_iter()
        .collect();
        let at_least = match survival {
            Survival::All | Survival::None => 1,
            Survival::Prefix => 5,
            Survival::Reordered => 10,
            Survival::Torn | Survival::Mixed => 20,
        };
        assert!(seen.len() >= at_least, "{survival:?} {}", seen.len());
    }
}

#[test]
fn torn_writes_keep_sectors_whole() {
    let lengths: BTreeSet<usize> = with_seeds(60, |disks, _| async move {
        let file = create_durable("/file", [b'a'; 700]).await;
        write(&file, 700, vec![b'b'; 3000]).await;
        disks.power_off(NODE);
        let loss = disks.power_on(NODE, Survival::Torn);
        let left = content("/file").await.unwrap();
        assert_eq!(left[..700], [b'a'; 700]);
        for (from, to) in [(700, 1024), (1024, 1536), (3584, 3700)] {
            let sector = &left[from.min(left.len())..to.min(left.len())];
            let one = sector.first().copied().unwrap_or(0);
            assert!(sector.iter().all(|byte| *byte == one) && [0, b'b'].contains(&one));
        }
        let is_whole = left[700..].iter().all(|byte| *byte == b'b') && left.len() == 3700;
        assert_eq!(loss.writes_kept == 1, is_whole);
        left.len()
    })
    .into_iter()
    .collect();
    // The whole length with holes, and lengths that end with a sector that survived.
    assert!(lengths.contains(&3700) && lengths.len() > 2, "{lengths:?}");
}

#[test]
fn what_was_synced_survives_every_kind() {
    for survival in SURVIVALS {
        with_seeds(20, |disks, _| async move {
            let disk = Disk::new();
            let file = create_durable("/file", [b'a'; 10_000]).await;
            disk.create_dir_all("/d/e").await.unwrap();
            for directory in ["/", "/d"] {
                disk.sync_dir(directory).await.unwrap();
            }
            write(&file, 3000, [b'b'; 5000]).await;
            file.set_len(7000).await.unwrap();
            file.sync_data().await.unwrap();
            disk.rename("/file", "/d/e/file").await.unwrap();
            disk.sync_dir("/").await.unwrap();
            disk.sync_dir("/d/e").await.unwrap();
            let known = disks.file(NODE, "/d/e/file").unwrap();
            assert_eq!((known.length_bytes, known.sound_to_bytes), (7000, 7000));
            assert!(known.is_name_durable);
            disks.power_off(NODE);
            let loss = disks.power_on(NODE, survival);
            assert_eq!(loss, PowerLoss::default());
            let left = content("/d/e/file").await.unwrap();
            assert_eq!(
                (&left[..3000], &left[3000..]),
                (&[b'a'; 3000][..], &[b'b'; 4000][..])
            );
            assert_eq!(content("/file").await, None);
        });
    }
}

#[test]
fn a_sync_covers_what_was_written_before_it_and_ends_in_its_time() {
    with_seeds(20, |disks, _| async move {
        let file = create_durable("/file", "").await;
        write(&file, 0, "one").await;
        let sync = file.sync_data();
        write(&file, 3, "two").await;
        assert_eq!(disks.durable_bytes(NODE, "/file").unwrap(), ""[..]);
        sync.await.unwrap();
        assert_eq!(disks.durable_bytes(NODE, "/file").unwrap(), "one"[..]);
        // Nobody needs to wait for it.
        drop(file.sync_data());
        crate::time::sleep(std::time::Duration::from_secs(1)).await;
        assert_eq!(disks.durable_bytes(NODE, "/file").unwrap(), "onetwo"[..]);
        write(&file, 6, "three").await;
        drop(file.sync_data());
        disks.power_off(NODE);
        disks.power_on(NODE, Survival::None);
        assert_eq!(content("/file").await.unwrap(), "onetwo"[..]);
    });
}

/// Each name's contents that a power loss may leave, and those that all seeds together must have shown.
#[test]
fn names_last_from_the_sync_of_their_directory() {
    for survival in SURVIVALS {
        let seen: BTreeSet<Vec<Option<String>>> = with_seeds(60, |disks, _| async move {
            let disk = Disk::new();
            create_durable("/kept", "kept").await;
            create_durable("/removed", "removed").await;
            create_durable("/replaced", "old").await;
            create_durable("/moved", "moved").await;
            for (path, text) in [("/created", "created"), ("/new", "new")] {
                let file = create(path).await;
                write(&file, 0, text).await;
                // The content is safe, the name is not.
                file.sync_all().await.unwrap();
                assert!(!disks.file(NODE, path).unwrap().is_name_durable);
            }
            disk.rename("/new", "/replaced").await.unwrap();
            disk.rename("/moved", "/elsewhere").await.unwrap();
            disk.remove_file("/removed").await.unwrap();
            disks.power_off(NODE);
            let loss = disks.power_on(NODE, survival);
            assert_eq!(loss.names_kept + loss.names_lost, 5);
            let mut left = Vec::new();
            for path in [
                "/created",
                "/new",
                "/replaced",
                "/moved",
                "/elsewhere",
                "/removed",
            ] {
                left.push(
                    content(path)
                        .await
                        .map(|text| String::from_utf8(text.to_vec()).unwrap()),
                );
            }
            let text = |index: usize| left[index].as_deref();
            assert_eq!(content("/kept").await.unwrap(), "kept"[..]);
            assert!(matches!(text(0), None | Some("created")));
            assert!(matches!(text(1), None | Some("new")));
            assert!(matches!(text(2), Some("old" | "new")));
            assert!(text(1).is_none() || text(2) == Some("old"), "one name each");
            assert!(text(3).is_some() != text(4).is_some(), "a rename is atomic");
            assert!(matches!(text(5), None | Some("removed")));
            left
        })
        .into_iter()
        .collect();
        let some = |text: &str| Some(text.to_owned());
        let none_left = vec![
            None,
            None,
            some("old"),
            some("moved"),
            None,
            some("removed"),
        ];
        let all_left = vec![
            some("created"),
            None,
            some("new"),
            None,
            some("moved"),
            None,
        ];
        match survival {
            Survival::None => assert_eq!(seen, BTreeSet::from([none_left])),
            Survival::All => assert_eq!(seen, BTreeSet::from([all_left])),
            Survival::Prefix => assert_eq!(seen.len(), 6),
            _ => assert!(seen.len() > 8, "{survival:?} {}", seen.len()),
        }
    }
}

#[test]
fn a_directory_takes_with_it_what_is_in_it() {
    with_seeds(10, |disks, _| async move {
        let disk = Disk::new();
        disk.create_dir_all("/topic-0").await.unwrap();
        let file = create("/topic-0/log").await;
        write(&file, 0, "x").await;
        file.sync_all().await.unwrap();
        disk.sync_dir("/topic-0").await.unwrap();
        assert!(!disks.file(NODE, "/topic-0/log").unwrap().is_name_durable);
        disks.power_on(NODE, Survival::None);
        assert!(!Disk::new().exists("/topic-0").await.unwrap());
        assert!(disks.durable_files(NODE).is_empty());

        let disk = Disk::new();
        disk.create_dir_all("/topic-0").await.unwrap();
        let file = create("/topic-0/log").await;
        write(&file, 0, "x").await;
        file.sync_all().await.unwrap();
        disk.sync_dir("/topic-0").await.unwrap();
        disk.sync_dir("/").await.unwrap();
        disk.rename("/topic-0", "/topic-0-delete").await.unwrap();
        disk.remove_dir_all("/topic-0-delete").await.unwrap();
        assert!(disks.files(NODE).is_empty());
        disks.power_on(NODE, Survival::None);
        assert_eq!(content("/topic-0/log").await.unwrap(), "x"[..]);
    });
}

#[test]
fn many_changes_are_written_back_unasked_oldest_first() {
    with_seeds(3, |disks, _| async move {
        let file = create_durable("/file", "").await;
        for index in 0..1000 {
            write(&file, index, "x").await;
        }
        for index in 0..1000 {
            let disk = Disk::new();
            disk.open(format!("/f{index}"), OpenMode::CreateNew)
                .await
                .unwrap();
        }
        let kept = (1000 - content::CHANGES_MAX) as u64;
        assert_eq!(
            disks.file(NODE, "/file").unwrap().durable_length_bytes,
            kept
        );
        disks.power_on(NODE, Survival::None);
        assert_eq!(content("/file").await.unwrap().len() as u64, kept);
        let names = disks.files(NODE).len();
        assert_eq!(names, 1 + 1000 - names::NAME_CHANGES_MAX);
    });
}
