//! A broker whose disk is full: a small file system in memory, in a namespace of its own.

use super::broker::{Home, STEP, STORAGE_ERROR, create, delete, look, look_at, put};
use crate::syscalls::wire::{self, Client};
use crate::{clients, wait};
use anyhow::{Context, Result, bail, ensure};
use std::ffi::OsString;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

const SIZE: &str = "size=24m";
const VALUE_BYTES: usize = 100_000;
/// Far more than the unlinking of deleted files takes.
const FREED_MAX: Duration = Duration::from_secs(60);

/// A namespace with the small file system, held by a process that does nothing else.
pub struct Mount {
    holder: Child,
    is_root: bool,
}

impl Mount {
    /// Why there can be none here.
    pub fn missing() -> Option<String> {
        let lacking = clients::absent(&[("unshare", "--version"), ("nsenter", "--version")]);
        if !lacking.is_empty() {
            return Some(format!("needs {}", lacking.join(", ")));
        }
        let folder = std::env::temp_dir();
        Mount::new(&folder).err().map(|error| format!("{error:#}"))
    }

    fn new(path: &Path) -> Result<Mount> {
        let identity = Command::new("id").arg("-u").output()?;
        let is_root = identity.stdout.starts_with(b"0\n");
        let mut command = Command::new("unshare");
        command.arg("--mount");
        if !is_root {
            command.arg("--map-root-user");
        }
        let script =
            format!("mount -t tmpfs -o {SIZE} tmpfs \"$1\" && echo mounted && exec sleep 1000");
        let holder = command
            .args(["sh", "-c", &script, "sh"])
            .arg(path)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()?;
        let mut mount = Mount { holder, is_root };
        let output = mount.holder.stdout.take().context("it is piped")?;
        let mut said = String::new();
        BufReader::new(output).read_line(&mut said)?;
        ensure!(said == "mounted\n", "no file system can be mounted here");
        Ok(mount)
    }

    /// What runs a command inside.
    fn prefix(&self) -> Vec<OsString> {
        let mut words = vec!["nsenter", "--mount"];
        if !self.is_root {
            words.extend(["--user", "--preserve-credentials"]);
        }
        let mut prefix: Vec<OsString> = words.into_iter().map(OsString::from).collect();
        prefix.extend(["--target".into(), self.holder.id().to_string().into()]);
        prefix
    }
}

impl Drop for Mount {
    fn drop(&mut self) {
        let _ = self.holder.kill();
        let _ = self.holder.wait();
    }
}

/// Produces until the disk is full; gives how many records there are.
fn fill(client: &mut Client, topic: &str, mut next: i64) -> Result<i64> {
    for _ in 0..10_000 {
        match put(client, topic, 0, VALUE_BYTES)? {
            (0, base_offset) => {
                ensure!(base_offset == next, "offset {base_offset}, not {next}");
                next += 1;
            }
            (STORAGE_ERROR, _) => return Ok(next),
            (code, _) => bail!("a full disk gives {code}"),
        }
    }
    bail!("the disk is never full")
}

/// Waits until a topic takes records again; gives how many it has then.
fn resumed(client: &mut Client, topic: &str, next: i64) -> Result<i64> {
    let resumed = wait::until(FREED_MAX, STEP, || {
        match put(client, topic, 0, VALUE_BYTES)? {
            (0, base_offset) => {
                ensure!(base_offset == next, "offset {base_offset}, not {next}");
                Ok(Some(next + 1))
            }
            (STORAGE_ERROR, _) => Ok(None),
            (code, _) => bail!("a full disk gives {code}"),
        }
    })?;
    resumed.context("waited in vain until writes resume")
}

/// The disk is filled three times; space comes back by DeleteRecords, by DeleteTopics, and by both after a start on the
/// full disk. Nothing that was acknowledged is lost.
pub fn story(root: &Path) -> Result<()> {
    let home = Home::new(root, "faults", &["small"])?;
    let small = home.folder.join("small");
    std::fs::create_dir_all(&small)?;
    let mount = Mount::new(&small)?;
    let broker = home.start_by(&mount.prefix())?;
    let mut client = broker.client()?;
    for topic in ["big", "kept", "spare"] {
        let settings = [
            ("internal.segment.bytes", "1048576"),
            ("file.delete.delay.ms", "0"),
        ];
        let answer = client.ask(&wire::create_topic(topic, 1, &settings))?;
        ensure!(wire::topic_code(&answer)? == 0, "creating {topic}");
    }
    for topic in ["kept", "spare"] {
        ensure!(
            put(&mut client, topic, 0, VALUE_BYTES)? == (0, 0),
            "the first record"
        );
    }
    let mut big = fill(&mut client, "big", 0)?;
    ensure!(big > 50, "only {big} records fit");
    ensure!(
        look(&mut client, "big", 0)? == (0, big),
        "reads of a full disk"
    );
    ensure!(
        look(&mut client, "kept", 0)? == (0, 1),
        "reads of a full disk"
    );
    // Metadata that needs more space is refused sooner or later; what frees space is not.
    crowd(&mut client)?;
    let answer = client.ask(&wire::delete_records("big", 0, big / 2))?;
    let deleted = wire::deleted_records(&answer)?;
    ensure!(deleted == (0, big / 2), "DeleteRecords gives {deleted:?}");
    big = resumed(&mut client, "big", big)?;

    big = fill(&mut client, "big", big)?;
    ensure!(
        delete(&mut client, "spare")? == 0,
        "DeleteTopics on a full disk"
    );
    drop(client);
    broker.stop()?;

    // The start needs a little space itself: the reserve.
    let broker = home.start_by(&mount.prefix())?;
    let mut client = broker.client()?;
    ensure!(
        look_at(&mut client, "big", 0, big - 1)? == (0, big),
        "acknowledged records are lost"
    );
    fill(&mut client, "big", big)?;
    ensure!(
        delete(&mut client, "big")? == 0,
        "DeleteTopics on a full disk"
    );
    let kept = resumed(&mut client, "kept", 1)?;
    drop(client);
    broker.stop()?;
    let broker = home.start_by(&mount.prefix())?;
    let mut client = broker.client()?;
    ensure!(
        look(&mut client, "kept", 0)? == (0, kept),
        "acknowledged records are lost"
    );
    drop(client);
    broker.stop()?;
    Ok(())
}

/// Creates topics on the full disk until one is refused.
fn crowd(client: &mut Client) -> Result<()> {
    for index in 0..5_000 {
        match create(client, &format!("more{index}"), 1)? {
            0 => {}
            STORAGE_ERROR => return Ok(()),
            code => bail!("a full disk refuses a topic with {code}"),
        }
    }
    bail!("topics can be made without end on a full disk")
}
