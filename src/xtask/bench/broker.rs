//! A broker in a process of its own that can be stopped, continued, killed and started again.

use super::cell::Class;
use super::process::{bound, said};
use crate::syscalls::wire::{self, Client, Request};
use crate::{clients, wait};
use anyhow::{Context, Result, bail, ensure};
use std::collections::BTreeSet;
use std::ffi::OsString;
use std::fs::OpenOptions;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// How long a broker may take to answer, or to make topics.
const ANSWER_MAX: Duration = Duration::from_secs(180);
/// How often it is asked until then.
const ASK_EVERY: Duration = Duration::from_millis(1);
/// How long it may take to stop when asked to.
const STOP_MAX: Duration = Duration::from_secs(180);
/// How long a deleted topic may stay on the disk.
const DELETE_MAX: Duration = Duration::from_secs(90);
/// Requests in flight while each partition is given a record.
const WINDOW: usize = 32;

/// Which broker, and how it is set up.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kind {
    /// Ours, as it comes.
    Millrace,
    /// Apache Kafka with the memory and the threads that its scripts give it.
    KafkaDefault,
    /// Apache Kafka with more memory, fewer threads, larger socket buffers.
    KafkaTuned,
}

impl Kind {
    /// Its name in the table.
    pub fn name(self) -> &'static str {
        match self {
            Kind::Millrace => "millrace",
            Kind::KafkaDefault => "kafka default",
            Kind::KafkaTuned => "kafka tuned",
        }
    }
}

/// Settings of both: nothing that is measured depends on them, but topics go when they are deleted.
const SETTINGS: &[(&str, &str)] = &[
    ("auto.create.topics.enable", "false"),
    ("default.replication.factor", "1"),
    ("offsets.topic.replication.factor", "1"),
    ("group.initial.rebalance.delay.ms", "0"),
    ("log.segment.delete.delay.ms", "0"),
];

/// What `kafka-server-start.sh` and `kafka-run-class.sh` pass.
const JAVA_DEFAULT: &[&str] = &["-Xmx1G", "-Xms1G"];
const JAVA_TUNED: &[&str] = &["-Xmx4G", "-Xms4G"];
const JAVA: &[&str] = &[
    "-XX:MaxGCPauseMillis=20",
    "-XX:InitiatingHeapOccupancyPercent=35",
    "-XX:+ExplicitGCInvokesConcurrent",
];
const TUNED: &[(&str, &str)] = &[
    ("num.network.threads", "2"),
    ("num.io.threads", "4"),
    ("socket.send.buffer.bytes", "1048576"),
    ("socket.receive.buffer.bytes", "1048576"),
];

/// One broker with its data in a folder of its own.
pub struct Broker {
    kind: Kind,
    command: Vec<OsString>,
    child: Option<Child>,
    address: SocketAddr,
    folder: PathBuf,
}

impl Broker {
    /// Prepares a broker with an empty data directory; it does not run yet.
    pub fn new(root: &Path, kind: Kind, folder: &Path) -> Result<Broker> {
        if folder.exists() {
            std::fs::remove_dir_all(folder)?;
        }
        std::fs::create_dir_all(folder)?;
        let address = clients::free_address()?;
        let directory = ("log.dirs", folder.join("logs").display().to_string());
        let shape = if kind == Kind::KafkaTuned { TUNED } else { &[] };
        let settings: Vec<(String, String)> = SETTINGS
            .iter()
            .chain(shape)
            .copied()
            .chain([(directory.0, directory.1.as_str())])
            .map(|(key, value)| (key.to_owned(), value.to_owned()))
            .collect();
        let heap = match kind {
            Kind::KafkaTuned => JAVA_TUNED,
            Kind::Millrace | Kind::KafkaDefault => JAVA_DEFAULT,
        };
        let java: Vec<&str> = heap.iter().chain(JAVA).copied().collect();
        let bare = match kind {
            Kind::Millrace => clients::millrace(root, address, &settings)?,
            Kind::KafkaDefault | Kind::KafkaTuned => {
                clients::kafka(root, address, folder, &settings, &java)?
            }
        };
        // A broker that stands still does not notice that this program was interrupted: the kernel ends it.
        let mut command: Vec<OsString> = bound("KILL").iter().map(OsString::from).collect();
        command.push(bare.get_program().to_owned());
        command.extend(bare.get_args().map(OsString::from));
        Ok(Broker {
            kind,
            command,
            child: None,
            address,
            folder: folder.to_owned(),
        })
    }

    /// What it is called.
    pub fn kind(&self) -> Kind {
        self.kind
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Where its partitions lie.
    pub fn logs(&self) -> PathBuf {
        self.folder.join("logs")
    }

    /// Its process.
    pub fn pid(&self) -> Result<u32> {
        Ok(self.child.as_ref().context("the broker does not run")?.id())
    }

    /// Starts it, and says after how long it gave its first answer.
    pub fn start(&mut self) -> Result<Duration> {
        let log = OpenOptions::new()
            .create(true)
            .append(true)
            .open(self.folder.join("broker.log"))?;
        let mut command = Command::new(&self.command[0]);
        command
            .args(&self.command[1..])
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log);
        let began = Instant::now();
        self.child = Some(command.spawn().context("start the broker")?);
        self.wait_until_it_answers()?;
        Ok(began.elapsed())
    }

    fn wait_until_it_answers(&mut self) -> Result<()> {
        let address = self.address;
        let answers = || clients::answers(address);
        let child = self.child.as_mut().context("the broker does not run")?;
        ensure!(
            wait::until_up(child, ANSWER_MAX, ASK_EVERY, answers)?,
            "{} does not answer: {}",
            self.kind.name(),
            self.log_tail()
        );
        Ok(())
    }

    /// The end of its log.
    pub fn log_tail(&self) -> String {
        let text = std::fs::read_to_string(self.folder.join("broker.log")).unwrap_or_default();
        super::tools::tail(&text)
    }

    fn signal(&self, signal: &str) -> Result<()> {
        let status = Command::new("kill")
            .arg(format!("-{signal}"))
            .arg(self.pid()?.to_string())
            .status()?;
        ensure!(status.success(), "kill -{signal} ended with {status}");
        Ok(())
    }

    /// Lets it stand still.
    pub fn pause(&self) -> Result<()> {
        self.signal("STOP")
    }

    /// Lets it go on, and waits until it answers.
    pub fn resume(&mut self) -> Result<()> {
        self.signal("CONT")?;
        self.wait_until_it_answers()
    }

    /// Asks it to stop, and says how long that took.
    pub fn stop(&mut self) -> Result<Duration> {
        let began = Instant::now();
        self.signal("TERM")?;
        let mut child = self.child.take().context("the broker does not run")?;
        if wait::until(STOP_MAX, ASK_EVERY, || Ok(child.try_wait()?))?.is_none() {
            child.kill()?;
            child.wait()?;
            bail!("{} did not stop within {STOP_MAX:?}", self.kind.name());
        }
        Ok(began.elapsed())
    }

    /// Kills it as SIGKILL does.
    pub fn kill(&mut self) -> Result<()> {
        let mut child = self.child.take().context("the broker does not run")?;
        child.kill()?;
        child.wait()?;
        Ok(())
    }

    /// Makes a topic, and waits until a record is acknowledged on each of its partitions.
    pub fn create_topic(&self, name: &str, partitions: i32, class: Class) -> Result<()> {
        let configs = [("flush.messages", class.flush_messages())];
        let request = wire::create_topic(name, partitions, &configs);
        let mut refusal = String::new();
        let made = wait::until(ANSWER_MAX, Duration::from_millis(50), || {
            let code = Client::connect(self.address)
                .and_then(|mut client| wire::topic_code(&client.ask(&request)?));
            // 36: it is there already, because an earlier answer was lost.
            if let Ok(0 | 36) = code {
                return Ok(Some(()));
            }
            refusal = format!("{code:?}");
            Ok(None)
        })?;
        made.with_context(|| format!("topic {name} cannot be made: {refusal}"))?;
        self.touch(name, 0..partitions)
    }

    /// Has a record acknowledged on each of these partitions, however often it must be sent.
    pub fn touch(&self, name: &str, partitions: std::ops::Range<i32>) -> Result<()> {
        let mut left: Vec<i32> = partitions.collect();
        let taken = wait::until(ANSWER_MAX, Duration::from_millis(10), || {
            if let Ok(refused) = self.refused(name, &left) {
                left = refused;
            }
            Ok(left.is_empty().then_some(()))
        })?;
        taken.with_context(|| format!("{} partitions of {name} do not take a record", left.len()))
    }

    /// Sends a record to each of these partitions; those that did not take it.
    fn refused(&self, name: &str, partitions: &[i32]) -> Result<Vec<i32>> {
        let mut client = Client::connect(self.address)?;
        let mut refused = Vec::new();
        for some in partitions.chunks(1_000) {
            let requests: Vec<Request> = some
                .iter()
                .map(|partition| wire::produce(name, *partition, 1, 10))
                .collect();
            let answers = client.pipeline(requests.iter(), WINDOW)?;
            for (partition, answer) in some.iter().zip(answers) {
                if wire::produced(&answer)?.0 != 0 {
                    refused.push(*partition);
                }
            }
        }
        Ok(refused)
    }

    /// Deletes a topic, and waits until its files are gone.
    pub fn delete_topic(&self, name: &str) -> Result<()> {
        let answer = Client::connect(self.address)?.ask(&wire::delete_topic(name))?;
        let code = wire::topic_code(&answer)?;
        ensure!(code == 0, "topic {name} is not deleted: error {code}");
        let prefix = format!("{name}-");
        let gone = wait::until(DELETE_MAX, Duration::from_millis(20), || {
            let is_left = std::fs::read_dir(self.logs())?
                .filter_map(Result::ok)
                .any(|entry| entry.file_name().to_string_lossy().starts_with(&prefix));
            Ok((!is_left).then_some(()))
        })?;
        gone.with_context(|| {
            let kind = self.kind.name();
            format!("{kind} leaves the files of topic {name} where they are")
        })
    }

    /// Deletes what a run that failed has left, lest it fill the disk.
    pub fn clear(&self, prefix: &str) -> Result<()> {
        let mut names = BTreeSet::new();
        for entry in std::fs::read_dir(self.logs())? {
            let folder = entry?.file_name().to_string_lossy().into_owned();
            if let Some((name, partition)) = folder.rsplit_once('-')
                && name.starts_with(prefix)
                && partition.parse::<u32>().is_ok()
            {
                names.insert(name.to_owned());
            }
        }
        names.iter().try_for_each(|name| self.delete_topic(name))
    }

    /// Gives Kafka so many threads for requests while it runs.
    pub fn set_io_threads(&self, millrace: &Path, threads: u32) -> Result<()> {
        let mut command = Command::new(millrace);
        command
            .args(["config", "--bootstrap-server", &self.address.to_string()])
            .args(["alter", "--broker-defaults", "--set"])
            .arg(format!("num.io.threads={threads}"));
        said(&mut command).map(drop)
    }
}

impl Drop for Broker {
    fn drop(&mut self) {
        if let Some(mut child) = self.child.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
        let _ = std::fs::remove_dir_all(self.logs());
    }
}
