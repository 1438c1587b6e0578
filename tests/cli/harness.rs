//! A node in a process of its own, and commands to it.

use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};

use serde_json::Value;
use tempfile::TempDir;

/// The executable.
pub const MILLRACE: &str = env!("CARGO_BIN_EXE_millrace");

/// What a command said, and how it ended.
#[derive(Debug)]
pub struct Said {
    /// Its exit code.
    pub code: i32,
    /// Standard output.
    pub out: String,
    /// Standard error.
    pub err: String,
}

impl Said {
    fn of(output: &Output) -> Said {
        let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).expect("text");
        Said {
            code: output.status.code().expect("it ended by itself"),
            out: text(&output.stdout),
            err: text(&output.stderr),
        }
    }

    /// Every line of standard output as JSON.
    pub fn json(&self) -> Vec<Value> {
        let parse = |line: &str| match serde_json::from_str(line) {
            Ok(value) => value,
            Err(error) => panic!("{line} is not JSON: {error}"),
        };
        self.out.lines().map(parse).collect()
    }
}

/// Runs a command in `folder`, with `input` on its standard input.
pub fn run_in(folder: &Path, line: &[&str], input: &str) -> Said {
    let mut child = Command::new(MILLRACE)
        .args(line)
        .current_dir(folder)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the executable");
    let mut stdin = child.stdin.take().expect("a pipe");
    // A command that takes no input may have ended already.
    let _ = stdin.write_all(input.as_bytes());
    drop(stdin);
    Said::of(&child.wait_with_output().expect("it ends"))
}

/// A node that serves.
pub struct Node {
    folder: TempDir,
    child: Child,
    address: String,
}

impl Node {
    /// Starts one in an empty folder and waits until it is ready.
    pub fn start() -> Node {
        let folder = tempfile::tempdir().expect("a folder");
        let mut child = Command::new(MILLRACE)
            .args(["serve", "--http", "off", "--cores", "1"])
            .args(["--override", "listeners=PLAINTEXT://127.0.0.1:0"])
            .args(["--override", "offsets.topic.num.partitions=2"])
            .args(["--override", "group.initial.rebalance.delay.ms=0"])
            .current_dir(folder.path())
            .stdout(Stdio::piped())
            .spawn()
            .expect("the executable");
        let mut ready = String::new();
        let mut out = BufReader::new(child.stdout.take().expect("a pipe"));
        out.read_line(&mut ready).expect("a line");
        let (_, rest) = ready.split_once("PLAINTEXT://").expect("its listener");
        let (address, _) = rest.split_once(' ').expect("more after it");
        Node {
            folder,
            child,
            address: address.to_owned(),
        }
    }

    /// Its folder; the data lie in `millrace-data`.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Runs a command of words without spaces against it.
    pub fn run(&self, line: &str) -> Said {
        self.run_with(line, "")
    }

    /// Runs a command with this input.
    pub fn run_with(&self, line: &str, input: &str) -> Said {
        let mut words: Vec<&str> = line.split_whitespace().collect();
        words.extend(["--bootstrap-server", &self.address]);
        run_in(self.folder(), &words, input)
    }

    /// Runs a command that must work.
    pub fn does(&self, line: &str) -> Said {
        let said = self.run(line);
        assert_eq!(said.code, 0, "{line}: {said:?}");
        said
    }

    /// Runs a command that must work and say JSON.
    pub fn json(&self, line: &str) -> Vec<Value> {
        let said = self.does(&format!("{line} --json"));
        let values = said.json();
        assert!(!values.is_empty(), "{line} says nothing");
        values
    }

    /// Stops it as a service manager does; gives its folder.
    pub fn stop(mut self) -> TempDir {
        let id = self.child.id().to_string();
        let killed = Command::new("kill").args(["-TERM", &id]).status();
        assert!(killed.expect("kill").success());
        let ended = self.child.wait().expect("it ends");
        assert!(ended.success(), "{ended}");
        std::mem::replace(&mut self.folder, tempfile::tempdir().expect("a folder"))
    }
}

impl Drop for Node {
    /// A story that fails leaves no process behind.
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
