//! Programs that the bench runs beside the brokers: bound to it, limited in time, and heard out.

use anyhow::{Context, Result, ensure};
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;

/// A client that takes longer than this many times what it should is ended.
const PATIENCE: u64 = 10;

/// Words before a command that have the kernel send it a signal when this program ends; none where there is no `setpriv`.
pub fn bound(signal: &'static str) -> Vec<&'static str> {
    static HAS_SETPRIV: OnceLock<bool> = OnceLock::new();
    let needs = [("setpriv", "--version")];
    match HAS_SETPRIV.get_or_init(|| crate::clients::absent(&needs).is_empty()) {
        true => vec!["setpriv", "--pdeathsig", signal, "--"],
        false => Vec::new(),
    }
}

/// A command that is ended when it takes far too long, and when this program ends: `timeout` hands SIGTERM on.
pub fn limited(seconds: u64) -> Command {
    let limit = (seconds * PATIENCE + 120).to_string();
    let mut words = bound("TERM");
    words.extend(["timeout", "--kill-after=5", &limit]);
    let mut command = Command::new(words[0]);
    command.args(&words[1..]);
    command
}

/// Starts a program whose words are kept.
pub fn start(command: &mut Command) -> Result<Child> {
    command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .with_context(|| format!("{:?}", command.get_program()))
}

/// Waits for a program; what it said on standard output. Its errors are told if it fails.
pub fn finish(child: Child) -> Result<String> {
    let output = child.wait_with_output()?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let errors = String::from_utf8_lossy(&output.stderr);
    ensure!(
        output.status.success(),
        "the program ended with {}: {}",
        output.status,
        super::tools::tail(&format!("{text}{errors}"))
    );
    Ok(text)
}

/// Waits for programs that run side by side, for all of them even if one fails.
pub fn finish_all(children: Vec<Child>) -> Result<Vec<String>> {
    let all: Vec<Result<String>> = children.into_iter().map(finish).collect();
    all.into_iter().collect()
}

/// What a program says from its start to its end.
pub fn said(command: &mut Command) -> Result<String> {
    let child = start(command)?;
    finish(child).with_context(|| format!("{:?}", command.get_program()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_that_fails_is_named_with_what_it_said() {
        let said_by = |words: &str| said(Command::new("sh").args(["-c", words]));
        assert_eq!(
            said_by("echo out; echo err >&2").expect("it ends well"),
            "out\n"
        );
        let error = said_by("echo out; echo err >&2; false").expect_err("it fails");
        let error = format!("{error:#}");
        for part in ["\"sh\"", "exit status: 1", "out | err"] {
            assert!(error.contains(part), "{error}");
        }
    }
}
