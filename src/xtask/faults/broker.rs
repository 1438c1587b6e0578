//! A broker under strace, which makes some of its calls fail, or in a namespace of its own; and short ways to ask it.

use crate::syscalls::wire::{self, Client};
use crate::{clients, proc, wait};
use anyhow::{Context, Result, ensure};
use std::ffi::OsString;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Duration;

/// KAFKA_STORAGE_ERROR.
pub const STORAGE_ERROR: i16 = 56;
const START_MAX: Duration = Duration::from_secs(30);
const STOP_MAX: Duration = Duration::from_secs(30);
/// How much of a broker's log is shown when its stop was not clean.
const LOG_LINES_SHOWN: usize = 30;
/// How often it is asked whether it is there, or gone.
pub const STEP: Duration = Duration::from_millis(20);

/// Where a broker's data are and how it is started.
pub struct Home {
    arguments: Vec<OsString>,
    program: OsString,
    address: SocketAddr,
    /// The folder of everything.
    pub folder: PathBuf,
}

/// Calls that fail, as strace's `--inject` names them, on some files only.
pub struct Fault {
    /// Such as `fdatasync`.
    pub calls: &'static str,
    /// Such as `error=EIO`.
    pub how: String,
    /// The files.
    pub paths: Vec<PathBuf>,
}

/// A broker that runs.
pub struct Broker {
    child: Child,
    address: SocketAddr,
    /// What it says.
    log: PathBuf,
    /// The calls on the files of the fault.
    trace: PathBuf,
    /// Whether the child is strace, and the broker its child.
    is_traced: bool,
}

impl Home {
    /// An empty home with these log directories below it, the first of which has the metadata.
    pub fn new(root: &Path, name: &str, directories: &[&str]) -> Result<Home> {
        let setup = clients::Setup {
            name,
            profile: &[("log.segment.delete.delay.ms", "0")],
            port: None,
        };
        let (command, address, folder) = clients::command(root, clients::Peer::Millrace, &setup)?;
        let paths: Vec<String> = directories
            .iter()
            .map(|name| folder.join(name).display().to_string())
            .collect();
        let mut arguments: Vec<OsString> = command.get_args().map(OsString::from).collect();
        for setting in [
            format!("log.dirs={}", paths.join(",")),
            format!("metadata.log.dir={}", paths[0]),
        ] {
            arguments.extend(["--override".into(), setting.into()]);
        }
        // Which core takes a connection and owns a partition must not matter for what fails when.
        arguments.extend(["--cores".into(), "1".into()]);
        Ok(Home {
            arguments,
            program: command.get_program().to_owned(),
            address,
            folder,
        })
    }

    /// The first file of a partition's log.
    pub fn log(&self, directory: &str, partition: &str) -> PathBuf {
        let name = "00000000000000000000.log";
        self.folder.join(directory).join(partition).join(name)
    }

    /// Starts the broker, under strace if there is a fault.
    pub fn start(&self, fault: Option<&Fault>) -> Result<Broker> {
        let trace = self.folder.join("trace.txt");
        let mut command = match fault {
            None => Command::new(&self.program),
            Some(fault) => {
                let mut command = Command::new("strace");
                command.args(["-f", "-y", "-e", &format!("trace={}", fault.calls)]);
                command.args(["-e", &format!("inject={}:{}", fault.calls, fault.how)]);
                for path in &fault.paths {
                    command.arg("-P").arg(path);
                }
                command.arg("-o").arg(&trace).arg(&self.program);
                command
            }
        };
        command.args(&self.arguments);
        self.spawn(command, fault.is_some())
    }

    /// Starts the broker as `prefix` and its arguments do.
    pub fn start_by(&self, prefix: &[OsString]) -> Result<Broker> {
        let mut command = Command::new(&prefix[0]);
        command.args(&prefix[1..]);
        command.arg(&self.program).args(&self.arguments);
        self.spawn(command, false)
    }

    fn spawn(&self, mut command: Command, is_traced: bool) -> Result<Broker> {
        let log_path = self.folder.join("broker.log");
        let mut log = std::fs::OpenOptions::new();
        let log = log.create(true).append(true).open(&log_path)?;
        let child = command
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            .spawn()
            .context("starting the broker")?;
        let mut broker = Broker {
            child,
            address: self.address,
            log: log_path,
            trace: self.folder.join("trace.txt"),
            is_traced,
        };
        let listens = || std::net::TcpStream::connect(self.address).is_ok();
        ensure!(
            wait::until_up(&mut broker.child, START_MAX, STEP, listens)?,
            "the broker did not come up: see {}",
            broker.log.display()
        );
        Ok(broker)
    }
}

impl Broker {
    /// A connection.
    pub fn client(&self) -> Result<Client> {
        Client::connect(self.address)
    }

    /// How many calls were made to fail.
    pub fn injected(&self) -> Result<usize> {
        let trace = std::fs::read_to_string(&self.trace)?;
        let is_injected = |line: &&str| line.contains("(INJECTED)");
        Ok(trace.lines().filter(is_injected).count())
    }

    /// Waits until the process ends by itself.
    pub fn ended(mut self) -> Result<ExitStatus> {
        let ended = wait::until(STOP_MAX, STEP, || Ok(self.child.try_wait()?))?;
        ended.context("the process does not end")
    }

    /// Asks it to stop, and waits until it has done so cleanly.
    pub fn stop(self) -> Result<()> {
        let pid = self.child.id();
        let pid = match self.is_traced {
            false => pid,
            true => proc::child(pid).context("the traced broker")?,
        };
        let killed = Command::new("kill").arg(pid.to_string()).status()?;
        ensure!(killed.success(), "the broker is gone");
        let log = self.log.clone();
        let status = self.ended()?;
        let log = std::fs::read_to_string(log)?;
        let first = log.lines().count().saturating_sub(LOG_LINES_SHOWN);
        let last: Vec<&str> = log.lines().skip(first).collect();
        ensure!(
            status.success(),
            "the stop is not clean: {status}; the broker's log ends with\n{}",
            last.join("\n")
        );
        Ok(())
    }
}

impl Drop for Broker {
    fn drop(&mut self) {
        if let Ok(None) = self.child.try_wait() {
            let _ = self.child.kill();
            let _ = self.child.wait();
        }
    }
}

/// Produces one batch with acks=all; gives the error code and the base offset.
pub fn put(client: &mut Client, topic: &str, partition: i32, bytes: usize) -> Result<(i16, i64)> {
    wire::produced(&client.ask(&wire::produce(topic, partition, 1, bytes))?)
}

/// Reads a partition from an offset; gives the error code and the high watermark.
pub fn look_at(
    client: &mut Client,
    topic: &str,
    partition: i32,
    offset: i64,
) -> Result<(i16, i64)> {
    wire::fetched(&client.ask(&wire::fetch(topic, partition, offset, 1 << 20))?)
}

/// Reads a partition from its first offset; gives the error code and the high watermark.
pub fn look(client: &mut Client, topic: &str, partition: i32) -> Result<(i16, i64)> {
    look_at(client, topic, partition, 0)
}

/// Creates a topic; gives the error code.
pub fn create(client: &mut Client, topic: &str, partitions: i32) -> Result<i16> {
    let settings = [("file.delete.delay.ms", "0"), ("retention.ms", "-1")];
    wire::topic_code(&client.ask(&wire::create_topic(topic, partitions, &settings))?)
}

/// Deletes a topic; gives the error code.
pub fn delete(client: &mut Client, topic: &str) -> Result<i16> {
    wire::topic_code(&client.ask(&wire::delete_topic(topic))?)
}
