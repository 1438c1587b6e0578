//! Whatever is done to a disk: what it says of itself is what a power loss shows.

use std::collections::BTreeMap;

use types::Prng;

use super::*;

const NAMES: [&str; 6] = ["/a", "/b", "/d/a", "/d/b", "/e/a", "/e/d/a"];
const DIRECTORIES: [&str; 4] = ["/", "/d", "/e", "/e/d"];

fn pick<'a>(prng: &mut Prng, list: &[&'a str]) -> &'a str {
    list[prng.below(list.len() as u64) as usize]
}

/// One operation, which may well be refused.
async fn step(prng: &mut Prng, files: &mut BTreeMap<String, File>) {
    let disk = Disk::new();
    let name = pick(prng, &NAMES);
    let open = files.get(name).cloned();
    match (prng.below(14), open) {
        (0, _) => drop(disk.create_dir_all(pick(prng, &DIRECTORIES)).await),
        (1, _) => drop(disk.remove_file(name).await),
        (2, _) => drop(disk.rename(name, pick(prng, &NAMES)).await),
        (3, _) => drop(disk.rename("/d", "/e/d").await),
        (4, _) => drop(disk.rename("/e/d", "/d").await),
        (5 | 6, _) => drop(disk.sync_dir(pick(prng, &DIRECTORIES)).await),
        (7, _) if prng.chance(1, 8) => drop(disk.remove_dir_all("/e").await),
        (8, Some(file)) => drop(file.set_len(prng.below(9000)).await),
        (9 | 10, Some(file)) => drop(file.sync_data().await),
        (11, Some(file)) => drop(file.sync_data()),
        (_, Some(file)) => {
            let bytes = vec![prng.below(256) as u8; prng.below(3000) as usize];
            drop(
                file.write_at(prng.below(6000), vec![Bytes::from(bytes)])
                    .await,
            );
        }
        (_, None) => {
            let mode = if prng.chance(1, 3) {
                OpenMode::Truncate
            } else {
                OpenMode::Create
            };
            if let Ok(file) = disk.open(name, mode).await {
                files.insert(name.to_owned(), file);
            }
        }
    }
}

/// Some operations, some of which fail, then a power loss; what was said before it and what was found after it.
async fn story(disks: &Disks, seed: u64, survival: Survival, faults: bool) {
    let mut prng = Prng::new(seed, "steps");
    for _ in 0..2 {
        let mut files = BTreeMap::new();
        if faults {
            for (operation, skip) in [(DiskOperation::Sync, 3), (DiskOperation::SyncDirectory, 2)] {
                let skip = prng.below(skip * 2) as u32;
                let fault = fault(operation, "", Effect::Eio);
                disks.add_fault(NODE, DiskFault { skip, ..fault });
            }
            let lost = fault(DiskOperation::Write, "", Effect::LoseWrite);
            disks.add_fault(NODE, DiskFault { skip: 8, ..lost });
        }
        for _ in 0..10 + prng.below(60) {
            step(&mut prng, &mut files).await;
        }
        disks.power_off(NODE);
        let said: Vec<(FileView, Bytes)> = disks
            .files(NODE)
            .into_iter()
            .map(|view| {
                let cached = disks.cached_bytes(NODE, &view.path).expect("it is listed");
                (view, cached)
            })
            .collect();
        let durable: Vec<(String, Bytes)> = disks
            .durable_files(NODE)
            .into_iter()
            .map(|path| {
                (
                    path.clone(),
                    disks.durable_bytes(NODE, path).expect("listed"),
                )
            })
            .collect();
        disks.power_on(NODE, survival);
        let mut found = Vec::new();
        for view in disks.files(NODE) {
            assert!(view.is_name_durable && view.sound_to_bytes == view.length_bytes);
            found.push((
                view.path.clone(),
                content(&view.path).await.expect("listed"),
            ));
        }
        for (view, cached) in &said {
            let after = found.iter().find(|(path, _)| *path == view.path);
            if view.is_name_durable {
                let sound = view.sound_to_bytes as usize;
                let (_, after) = after.expect("its name was durable");
                let is_kept = after[..sound] == cached[..sound];
                assert!(is_kept, "{seed} {survival:?} {}", view.path);
            }
        }
        if survival == Survival::None {
            assert!(found == durable, "{seed}");
        } else if survival == Survival::All && !faults {
            let all: Vec<(String, Bytes)> = said
                .into_iter()
                .map(|(view, cached)| (view.path, cached))
                .collect();
            assert!(found == all, "{seed}");
        }
    }
}

#[test]
fn a_power_loss_shows_what_was_said_to_be_durable() {
    for survival in [Survival::None, Survival::All, Survival::Mixed] {
        with_seeds(300, |disks, seed| async move {
            story(&disks, seed, survival, false).await;
        });
    }
}

#[test]
fn also_when_syncs_failed_and_writes_were_lost() {
    for survival in [Survival::None, Survival::Mixed] {
        with_seeds(300, |disks, seed| async move {
            story(&disks, seed, survival, true).await;
        });
    }
}

#[test]
fn images_bring_back_what_was_durable() {
    with_seeds(40, |disks, seed| async move {
        let mut prng = Prng::new(seed, "steps");
        let mut files = BTreeMap::new();
        for _ in 0..40 {
            step(&mut prng, &mut files).await;
        }
        let image = disks.copy_image(NODE);
        let said: Vec<(String, Bytes)> = disks
            .durable_files(NODE)
            .into_iter()
            .map(|path| {
                (
                    path.clone(),
                    disks.durable_bytes(NODE, path).expect("listed"),
                )
            })
            .collect();
        for _ in 0..20 {
            step(&mut prng, &mut files).await;
        }
        disks.wipe(NODE);
        assert!(disks.files(NODE).is_empty() && disks.used_bytes(NODE) == 0);
        disks.restore_image(NODE, &image);
        let mut found = Vec::new();
        for path in disks.durable_files(NODE) {
            found.push((path.clone(), content(&path).await.expect("listed")));
        }
        assert!(found == said);
    });
}
