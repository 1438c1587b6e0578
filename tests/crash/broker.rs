//! The broker's process: started, killed without warning, started again.

use crate::Arguments;
use anyhow::{Context, Result, bail, ensure};
use std::fs::{File, OpenOptions};
use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

const START_MAX: Duration = Duration::from_secs(60);

/// One broker.
pub struct Broker {
    child: Child,
    command: Vec<String>,
    bootstrap: String,
    log: PathBuf,
}

impl Broker {
    /// Starts the broker for the first time.
    pub fn start(arguments: &Arguments) -> Result<Broker> {
        File::create(&arguments.log).context("create the broker's log")?;
        let mut broker = Broker {
            child: spawn(&arguments.command, &arguments.log)?,
            command: arguments.command.clone(),
            bootstrap: arguments.bootstrap.clone(),
            log: arguments.log.clone(),
        };
        broker.wait_until_ready()?;
        Ok(broker)
    }

    /// SIGKILL; a broker that is gone already died by itself, which is a failure.
    pub fn kill(&mut self) -> Result<()> {
        if let Some(status) = self.child.try_wait()? {
            bail!(
                "the broker died by itself with {status}: {}",
                self.last_words()
            );
        }
        self.child.kill()?;
        self.child.wait()?;
        Ok(())
    }

    /// Starts it on the same data; gives the time until it answered.
    pub fn restart(&mut self) -> Result<Duration> {
        let started = Instant::now();
        self.child = spawn(&self.command, &self.log)?;
        self.wait_until_ready()?;
        Ok(started.elapsed())
    }

    fn wait_until_ready(&mut self) -> Result<()> {
        let started = Instant::now();
        while !self.answers() {
            if let Some(status) = self.child.try_wait()? {
                bail!("the broker did not start: {status}: {}", self.last_words());
            }
            ensure!(
                started.elapsed() < START_MAX,
                "no answer within {START_MAX:?}"
            );
            std::thread::sleep(Duration::from_millis(5));
        }
        Ok(())
    }

    /// Whether it answers ApiVersions, version 0, correlation id 7.
    fn answers(&self) -> bool {
        let ask = || -> std::io::Result<[u8; 8]> {
            let mut stream = TcpStream::connect(&self.bootstrap)?;
            stream.set_read_timeout(Some(Duration::from_secs(2)))?;
            stream.write_all(&[0, 0, 0, 10, 0, 18, 0, 0, 0, 0, 0, 7, 0xff, 0xff])?;
            let mut head = [0; 8];
            stream.read_exact(&mut head)?;
            Ok(head)
        };
        ask().is_ok_and(|head| head[4..] == [0, 0, 0, 7])
    }

    fn last_words(&self) -> String {
        let log = std::fs::read_to_string(&self.log).unwrap_or_default();
        let lines: Vec<&str> = log.lines().rev().take(10).collect();
        lines.into_iter().rev().collect::<Vec<_>>().join("\n")
    }
}

impl Drop for Broker {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn spawn(command: &[String], log: &PathBuf) -> Result<Child> {
    let log = OpenOptions::new().append(true).open(log)?;
    Command::new(&command[0])
        .args(&command[1..])
        .stdin(Stdio::null())
        .stdout(log.try_clone()?)
        .stderr(log)
        .spawn()
        .with_context(|| format!("start {}", command[0]))
}
