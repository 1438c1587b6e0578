//! A broker in a process of its own: ours, or Apache Kafka to calibrate a suite by.

use super::suites::PROFILE;
use crate::wait;
use anyhow::{Context, Result, bail, ensure};
use std::fmt;
use std::fs::File;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

/// Which broker.
#[derive(Clone, Copy, PartialEq, Eq, Debug, clap::ValueEnum)]
pub enum Peer {
    /// Ours, built in release.
    Millrace,
    /// Apache Kafka, of the version in tests/clients/java/pom.xml.
    Kafka,
}

impl fmt::Display for Peer {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Peer::Millrace => "millrace",
            Peer::Kafka => "kafka",
        })
    }
}

/// How long a broker may take to answer its first request.
const START_MAX: Duration = Duration::from_secs(60);
/// How long a broker may take to stop when asked to.
const STOP_MAX: Duration = Duration::from_secs(20);
/// How often it is asked, and looked after, until then.
const ASK_EVERY: Duration = Duration::from_millis(20);

/// What a broker is started for.
pub struct Setup<'a> {
    /// Names its folder.
    pub name: &'a str,
    /// Configs beside those of every suite.
    pub profile: &'a [(&'a str, &'a str)],
    /// A port to prefer.
    pub port: Option<u16>,
}

/// One running broker with node id 0, its data in a folder of its own below `target/`.
pub struct Node {
    child: Child,
    address: SocketAddr,
    folder: PathBuf,
    keep: bool,
}

impl Node {
    /// Starts a broker on a free port with an empty data directory, and waits until it answers.
    pub fn start(root: &Path, peer: Peer, setup: &Setup, keep: bool) -> Result<Node> {
        let (mut command, address, folder) = command(root, peer, setup)?;
        let log = File::create(folder.join("broker.log"))?;
        let child = command
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            .spawn()
            .context("start the broker")?;
        let mut node = Node {
            child,
            address,
            folder,
            keep,
        };
        node.wait_until_ready()?;
        Ok(node)
    }

    /// The address that clients are given.
    pub fn bootstrap(&self) -> String {
        self.address.to_string()
    }

    /// Whether the process is still there.
    pub fn is_running(&mut self) -> bool {
        matches!(self.child.try_wait(), Ok(None))
    }

    fn wait_until_ready(&mut self) -> Result<()> {
        let address = self.address;
        let answers = || answers(address);
        if wait::until_up(&mut self.child, START_MAX, ASK_EVERY, answers)? {
            return Ok(());
        }
        let log = std::fs::read_to_string(self.folder.join("broker.log"))?;
        let tail: Vec<&str> = log.lines().rev().take(20).collect();
        let tail: Vec<&str> = tail.into_iter().rev().collect();
        bail!(
            "the broker did not come up at {address}:\n{}",
            tail.join("\n")
        );
    }
}

impl Drop for Node {
    /// Asks the broker to stop, waits, and removes its data.
    fn drop(&mut self) {
        let _ = Command::new("kill")
            .arg(self.child.id().to_string())
            .status();
        let ended = wait::until(STOP_MAX, ASK_EVERY, || Ok(self.child.try_wait()?));
        if let Ok(None) = ended {
            eprintln!("the broker did not stop within {STOP_MAX:?} of SIGTERM; killed");
            let _ = self.child.kill();
        }
        let _ = self.child.wait();
        if self.keep {
            println!("kept {}", self.folder.display());
        } else {
            let _ = std::fs::remove_dir_all(self.folder.join("logs"));
        }
    }
}

/// The command that starts a broker with an empty data directory, its address, and its folder.
pub fn command(root: &Path, peer: Peer, setup: &Setup) -> Result<(Command, SocketAddr, PathBuf)> {
    let folder = root
        .join("target/clients/data")
        .join(format!("{}-{peer}", setup.name));
    if folder.exists() {
        std::fs::remove_dir_all(&folder)?;
    }
    std::fs::create_dir_all(&folder)?;
    let mut settings: Vec<(String, String)> = Vec::new();
    for (key, value) in PROFILE.iter().chain(setup.profile) {
        settings.push(((*key).to_owned(), (*value).to_owned()));
    }
    settings.push((
        "log.dirs".to_owned(),
        folder.join("logs").display().to_string(),
    ));
    let address = match setup
        .port
        .map(|port| SocketAddr::from(([127, 0, 0, 1], port)))
    {
        Some(wanted) if TcpListener::bind(wanted).is_ok() => wanted,
        _ => free_address()?,
    };
    let command = match peer {
        Peer::Millrace => millrace(root, address, &settings)?,
        Peer::Kafka => kafka(root, address, &folder, &settings, &["-Xmx768M", "-Xms768M"])?,
    };
    Ok((command, address, folder))
}

/// An address on which nobody listens now.
pub fn free_address() -> Result<SocketAddr> {
    Ok(TcpListener::bind("127.0.0.1:0")?.local_addr()?)
}

/// Whether a broker answers ApiVersions (version 0, correlation id 7) at `address`.
pub fn answers(address: SocketAddr) -> bool {
    let request = [0, 0, 0, 10, 0, 18, 0, 0, 0, 0, 0, 7, 0xff, 0xff];
    let limit = Duration::from_secs(2);
    let ask = || -> std::io::Result<[u8; 8]> {
        let mut stream = TcpStream::connect_timeout(&address, limit)?;
        stream.set_read_timeout(Some(limit))?;
        stream.write_all(&request)?;
        let mut head = [0; 8];
        stream.read_exact(&mut head)?;
        Ok(head)
    };
    ask().is_ok_and(|head| head[4..] == [0, 0, 0, 7])
}

/// Builds the broker and gives the path of its executable.
///
/// `MILLRACE_BIN` names one that is built already.
pub fn build_release(root: &Path) -> Result<PathBuf> {
    if let Some(given) = std::env::var_os("MILLRACE_BIN") {
        return Ok(PathBuf::from(given));
    }
    build(root, "millrace", "millrace")
}

/// Builds a program of the workspace in release, and gives its path.
pub fn build(root: &Path, package: &str, program: &str) -> Result<PathBuf> {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let status = Command::new(cargo)
        .args(["build", "--quiet", "--release", "--package", package])
        .current_dir(root)
        .status()?;
    ensure!(status.success(), "building {package} failed");
    let target = std::env::var_os("CARGO_TARGET_DIR").map(PathBuf::from);
    Ok(target
        .unwrap_or_else(|| root.join("target"))
        .join("release")
        .join(program))
}

/// The command that starts ours with these configs.
pub fn millrace(
    root: &Path,
    address: SocketAddr,
    settings: &[(String, String)],
) -> Result<Command> {
    let mut command = Command::new(build_release(root)?);
    command.arg("serve");
    let listeners = ("listeners".to_owned(), format!("PLAINTEXT://{address}"));
    let id = ("node.id".to_owned(), "0".to_owned());
    let advertised = (
        "advertised.listeners".to_owned(),
        format!("PLAINTEXT://{address}"),
    );
    for (key, value) in settings.iter().chain([&listeners, &advertised, &id]) {
        command.arg("--override").arg(format!("{key}={value}"));
    }
    Ok(command)
}

/// Formats a data directory for Apache Kafka and gives the command that starts it with these configs, its virtual
/// machine with these arguments.
pub fn kafka(
    root: &Path,
    address: SocketAddr,
    folder: &Path,
    settings: &[(String, String)],
    machine: &[&str],
) -> Result<Command> {
    let classes = format!("{}/*", super::libraries(root)?.display());
    let controller = free_address()?;
    let mut text = format!(
        "process.roles=broker,controller\n\
         node.id=0\n\
         listeners=PLAINTEXT://{address},CONTROLLER://{controller}\n\
         advertised.listeners=PLAINTEXT://{address},CONTROLLER://{controller}\n\
         inter.broker.listener.name=PLAINTEXT\n\
         controller.listener.names=CONTROLLER\n\
         listener.security.protocol.map=CONTROLLER:PLAINTEXT,PLAINTEXT:PLAINTEXT\n\
         controller.quorum.bootstrap.servers={controller}\n\
         transaction.state.log.replication.factor=1\n\
         transaction.state.log.min.isr=1\n\
         share.coordinator.state.topic.replication.factor=1\n\
         share.coordinator.state.topic.min.isr=1\n"
    );
    for (key, value) in settings {
        text.push_str(&format!("{key}={value}\n"));
    }
    let properties = folder.join("server.properties");
    std::fs::write(&properties, text)?;
    let logging = folder.join("log4j2.properties");
    std::fs::write(
        &logging,
        "appender.out.type=Console\nappender.out.name=out\nrootLogger=WARN, out\n",
    )?;
    let logging = format!("-Dlog4j2.configurationFile={}", logging.display());
    let formatted = Command::new("java")
        .args([
            &logging,
            "-cp",
            &classes,
            "kafka.tools.StorageTool",
            "format",
            "--standalone",
        ])
        .args(["-t", "4L6g3nShT-eMCtK--X86sw", "-c"])
        .arg(&properties)
        .output()?;
    let said = String::from_utf8_lossy(&formatted.stdout).into_owned()
        + &String::from_utf8_lossy(&formatted.stderr);
    ensure!(formatted.status.success(), "formatting failed: {said}");
    let mut command = Command::new("java");
    command.args(machine);
    command.args(["-server", "-XX:+UseG1GC", "-Djava.awt.headless=true"]);
    command
        .args([&logging, "-cp", &classes, "kafka.Kafka"])
        .arg(properties);
    Ok(command)
}
