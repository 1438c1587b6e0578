//! What a disk promises while the power stays on.

use std::io::ErrorKind;
use std::path::PathBuf;

use bytes::Bytes;

use crate::disk::{DirectoryEntry, Disk, EntryKind, File, OpenMode};
use crate::half::TestPlace;
use crate::task::block_on;

/// A disk and an empty directory on it.
pub(super) struct TestDirectory {
    pub(super) disk: Disk,
    place: TestPlace,
}

impl TestDirectory {
    pub(super) fn new() -> TestDirectory {
        TestDirectory {
            disk: Disk::new(),
            place: TestPlace::new(),
        }
    }

    pub(super) fn path(&self, name: &str) -> PathBuf {
        self.place.path().join(name)
    }

    async fn create(&self, name: &str) -> File {
        self.disk
            .open(self.path(name), OpenMode::CreateNew)
            .await
            .unwrap()
    }

    async fn names(&self, name: &str) -> Vec<String> {
        let entries = self.disk.list_dir(self.path(name)).await.unwrap();
        entries.into_iter().map(|entry| entry.name).collect()
    }
}

fn parts<const N: usize>(texts: [&'static str; N]) -> Vec<Bytes> {
    texts
        .map(|text| Bytes::from_static(text.as_bytes()))
        .to_vec()
}

fn test<F: Future<Output = ()>>(story: impl FnOnce(TestDirectory) -> F) {
    block_on(async { story(TestDirectory::new()).await });
}

#[test]
fn what_was_written_is_read_back() {
    test(|at| async move {
        let file = at.create("file").await;
        file.write_at(0, parts(["ab", "", "cd"])).await.unwrap();
        file.write_at(6, parts(["gh"])).await.unwrap();
        assert_eq!(file.len().unwrap(), 8);
        let table: [(u64, usize, &[u8]); 6] = [
            (0, 8, b"abcd\0\0gh"),
            (1, 2, b"bc"),
            (6, 100, b"gh"),
            (8, 1, b""),
            (100, 1, b""),
            (0, 0, b""),
        ];
        for (offset, length, expected) in table {
            assert_eq!(file.read_at(offset, length).await.unwrap(), expected);
        }
        file.write_at(2, parts(["XY"])).await.unwrap();
        let whole = at.disk.read_file(at.path("file")).await.unwrap();
        assert_eq!(whole, b"abXY\0\0gh"[..]);
    });
}

#[test]
fn many_parts_are_one_write() {
    test(|at| async move {
        let file = at.create("file").await;
        let many: Vec<Bytes> = (0..5000u16)
            .map(|number| Bytes::copy_from_slice(&number.to_be_bytes()))
            .collect();
        let expected = many.concat();
        file.write_at(3, many).await.unwrap();
        assert_eq!(file.read_at(3, 10_000).await.unwrap(), expected);
    });
}

#[test]
fn a_completion_can_be_taken_once_it_is_done() {
    test(|at| async move {
        let file = at.create("file").await;
        let mut completion = file.write_at(0, parts(["x"]));
        let result = loop {
            if let Some(result) = completion.try_take() {
                break result;
            }
            crate::time::sleep(std::time::Duration::from_millis(1)).await;
        };
        result.unwrap();
        assert!(completion.try_take().is_none());
    });
}

#[test]
fn an_operation_goes_on_when_its_completion_is_dropped() {
    test(|at| async move {
        drop(at.disk.create_dir_all(at.path("a/b")));
        while !at.disk.exists(at.path("a/b")).await.unwrap() {
            crate::task::yield_now().await;
        }
    });
}

#[test]
fn open_modes_say_what_must_and_must_not_be_there() {
    test(|at| async move {
        let open = |name: &str, mode| at.disk.open(at.path(name), mode);
        for mode in [OpenMode::Read, OpenMode::ReadWrite] {
            let error = open("none", mode).await.unwrap_err();
            assert_eq!(error.kind(), ErrorKind::NotFound);
        }
        let file = open("file", OpenMode::Create).await.unwrap();
        file.write_at(0, parts(["kept"])).await.unwrap();
        let error = open("file", OpenMode::CreateNew).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::AlreadyExists);
        for mode in [OpenMode::Read, OpenMode::ReadWrite, OpenMode::Create] {
            let again = open("file", mode).await.unwrap();
            assert_eq!(again.read_at(0, 9).await.unwrap(), b"kept"[..]);
            assert_eq!(again.path(), at.path("file"));
        }
        let reader = open("file", OpenMode::Read).await.unwrap();
        assert!(reader.write_at(0, parts(["no"])).await.is_err());
        let emptied = open("file", OpenMode::Truncate).await.unwrap();
        assert!(emptied.is_empty().unwrap());
        let error = open("none/file", OpenMode::Create).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::NotFound);
    });
}

#[test]
fn lengths_are_set_and_space_is_reserved_without_changing_them() {
    test(|at| async move {
        let file = at.create("file").await;
        file.write_at(0, parts(["abcdef"])).await.unwrap();
        file.set_len(3).await.unwrap();
        assert_eq!(file.len().unwrap(), 3);
        file.set_len(5).await.unwrap();
        assert_eq!(file.read_at(0, 9).await.unwrap(), b"abc\0\0"[..]);
        file.allocate(0, 10_000).await.unwrap();
        file.allocate(0, 0).await.unwrap();
        assert_eq!(file.len().unwrap(), 5);
        assert_eq!(file.read_at(0, 9).await.unwrap(), b"abc\0\0"[..]);
    });
}

#[test]
fn syncs_succeed_also_many_at_once() {
    test(|at| async move {
        let file = at.create("file").await;
        let mut syncs = Vec::new();
        for round in 0..50 {
            file.write_at(round, parts(["x"])).await.unwrap();
            syncs.push(file.sync_data());
            syncs.push(file.sync_all());
        }
        for sync in syncs {
            sync.await.unwrap();
        }
        at.disk.sync_dir(at.path("")).await.unwrap();
    });
}

#[test]
fn directories_list_their_entries_by_name() {
    test(|at| async move {
        at.disk.create_dir_all(at.path("d/sub/deep")).await.unwrap();
        at.disk.create_dir_all(at.path("d/sub")).await.unwrap();
        for name in ["d/b", "d/a", "d/c"] {
            at.create(name).await;
        }
        let entry = |name: &str, kind| DirectoryEntry {
            name: name.to_owned(),
            kind,
        };
        assert_eq!(
            at.disk.list_dir(at.path("d")).await.unwrap(),
            [
                entry("a", EntryKind::File),
                entry("b", EntryKind::File),
                entry("c", EntryKind::File),
                entry("sub", EntryKind::Directory),
            ]
        );
        let error = at.disk.list_dir(at.path("none")).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::NotFound);
    });
}

#[test]
fn renaming_replaces_and_keeps_open_handles() {
    test(|at| async move {
        let old = at.create("target").await;
        old.write_at(0, parts(["old"])).await.unwrap();
        let new = at.create("target.tmp").await;
        new.write_at(0, parts(["new"])).await.unwrap();
        at.disk
            .rename(at.path("target.tmp"), at.path("target"))
            .await
            .unwrap();
        let content = at.disk.read_file(at.path("target")).await.unwrap();
        assert_eq!(content, b"new"[..]);
        assert_eq!(old.read_at(0, 9).await.unwrap(), b"old"[..]);
        assert_eq!(at.names("").await, ["target"]);
        let error = at
            .disk
            .rename(at.path("none"), at.path("x"))
            .await
            .unwrap_err();
        assert_eq!(error.kind(), ErrorKind::NotFound);
    });
}

#[test]
fn a_directory_is_renamed_with_what_is_in_it() {
    test(|at| async move {
        at.disk.create_dir_all(at.path("topic-0")).await.unwrap();
        let file = at.create("topic-0/log").await;
        at.disk
            .rename(at.path("topic-0"), at.path("topic-0-delete"))
            .await
            .unwrap();
        assert_eq!(at.names("topic-0-delete").await, ["log"]);
        assert!(!at.disk.exists(at.path("topic-0")).await.unwrap());
        file.write_at(0, parts(["still open"])).await.unwrap();
        let moved = at.disk.read_file(at.path("topic-0-delete/log")).await;
        assert_eq!(moved.unwrap(), b"still open"[..]);
    });
}

#[test]
fn removed_files_are_gone_by_name_only() {
    test(|at| async move {
        let file = at.create("file").await;
        file.write_at(0, parts(["x"])).await.unwrap();
        at.disk.remove_file(at.path("file")).await.unwrap();
        assert!(!at.disk.exists(at.path("file")).await.unwrap());
        assert_eq!(file.read_at(0, 1).await.unwrap(), b"x"[..]);
        let error = at.disk.remove_file(at.path("file")).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::NotFound);
        at.disk.create_dir_all(at.path("d/e")).await.unwrap();
        at.create("d/e/f").await;
        at.disk.remove_dir_all(at.path("d")).await.unwrap();
        assert!(at.names("").await.is_empty());
    });
}

#[test]
fn metadata_tells_kind_length_and_time() {
    test(|at| async move {
        let file = at.create("file").await;
        file.write_at(0, parts(["12345"])).await.unwrap();
        let known = at.disk.metadata(at.path("file")).await.unwrap();
        assert_eq!((known.kind, known.length_bytes), (EntryKind::File, 5));
        let wall_ms = crate::Clock::start().now().wall.as_millis();
        assert!((known.modified_ms - wall_ms).abs() < 60_000);
        let directory = at.disk.metadata(at.path("")).await.unwrap();
        assert_eq!(directory.kind, EntryKind::Directory);
        let error = at.disk.metadata(at.path("none")).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::NotFound);
        assert!(at.disk.free_bytes(at.path("")).await.unwrap() > 0);
    });
}

#[test]
fn a_lock_has_one_holder_until_it_is_dropped() {
    test(|at| async move {
        let lock = at.disk.lock_file(at.path(".lock")).await.unwrap();
        let error = at.disk.lock_file(at.path(".lock")).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::WouldBlock);
        drop(lock);
        at.disk.lock_file(at.path(".lock")).await.unwrap();
    });
}

#[test]
fn what_cannot_be_is_refused_by_its_kind() {
    test(|at| async move {
        at.disk.create_dir_all(at.path("d/e")).await.unwrap();
        let file = at.create("file").await;
        let kind = |result: std::io::Result<()>| result.unwrap_err().kind();
        let rename = |from: &str, to: &str| at.disk.rename(at.path(from), at.path(to));
        let opened = at.disk.open(at.path("d"), OpenMode::ReadWrite).await;
        let table = [
            (kind(rename("file", "d").await), ErrorKind::IsADirectory),
            (kind(rename("d", "file").await), ErrorKind::NotADirectory),
            (kind(rename("d/e", "d").await), ErrorKind::DirectoryNotEmpty),
            (kind(rename("d", "d/e/f").await), ErrorKind::InvalidInput),
            (kind(rename("file", "none/f").await), ErrorKind::NotFound),
            (kind(opened.map(drop)), ErrorKind::IsADirectory),
            (
                kind(at.disk.remove_file(at.path("d")).await),
                ErrorKind::IsADirectory,
            ),
            (
                kind(at.disk.list_dir(at.path("file")).await.map(drop)),
                ErrorKind::NotADirectory,
            ),
            (
                kind(at.disk.remove_dir_all(at.path("none")).await),
                ErrorKind::NotFound,
            ),
            (
                kind(at.disk.sync_dir(at.path("none")).await),
                ErrorKind::NotFound,
            ),
            (
                kind(at.disk.create_dir_all(at.path("file/d")).await),
                ErrorKind::NotADirectory,
            ),
        ];
        for (row, (met, expected)) in table.into_iter().enumerate() {
            assert_eq!(met, expected, "row {row}");
        }
        rename("file", "file").await.unwrap();
        rename("d/e", "d/e").await.unwrap();
        assert_eq!(at.names("").await, ["d", "file"]);
        drop(file);
    });
}

#[test]
fn handles_of_one_file_share_its_content() {
    test(|at| async move {
        let (one, reader) = (at.create("file").await, OpenMode::Read);
        let two = at.disk.open(at.path("file"), reader).await.unwrap();
        one.write_at(0, parts(["shared"])).await.unwrap();
        assert_eq!(two.read_at(0, 9).await.unwrap(), b"shared"[..]);
        one.set_len(2).await.unwrap();
        assert_eq!(two.len().unwrap(), 2);
        // Also a reader may sync, and each handle for itself.
        for handle in [&one, &two, &one] {
            handle.sync_data().await.unwrap();
        }
        at.disk
            .open(at.path("file"), OpenMode::Truncate)
            .await
            .unwrap();
        assert!(one.is_empty().unwrap() && two.is_empty().unwrap());
    });
}

#[test]
fn a_file_with_a_hole_reads_as_zeros_there() {
    test(|at| async move {
        let file = at.create("file").await;
        let far = 3 << 30;
        file.write_at(far, parts(["far"])).await.unwrap();
        file.write_at(0, parts(["near"])).await.unwrap();
        assert_eq!(file.len().unwrap(), far + 3);
        assert_eq!(file.read_at(far - 2, 9).await.unwrap(), b"\0\0far"[..]);
        assert_eq!(file.read_at(2, 4).await.unwrap(), b"ar\0\0"[..]);
        file.set_len(far - 1).await.unwrap();
        file.set_len(far + 3).await.unwrap();
        assert_eq!(file.read_at(far - 2, 9).await.unwrap(), [0; 5][..]);
        file.sync_all().await.unwrap();
    });
}

#[test]
fn reserved_space_is_given_back_by_cutting_the_file() {
    test(|at| async move {
        let file = at.create("file").await;
        file.write_at(0, parts(["kept"])).await.unwrap();
        file.allocate(0, 1 << 20).await.unwrap();
        file.set_len(4).await.unwrap();
        file.allocate(1 << 20, 1 << 20).await.unwrap();
        assert_eq!(file.len().unwrap(), 4);
        file.write_at(100_000, parts(["x"])).await.unwrap();
        let whole = at.disk.read_file(at.path("file")).await.unwrap();
        assert_eq!((whole.len(), &whole[..4]), (100_001, &b"kept"[..]));
        assert!(whole[4..100_000].iter().all(|byte| *byte == 0));
    });
}
