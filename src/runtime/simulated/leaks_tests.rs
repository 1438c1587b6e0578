//! One leak of each kind is planted in a process of its own, which must end as one that leaks.

use std::os::unix::process::ExitStatusExt;
use std::process::{Command, Output};

use super::*;
use crate::simulated::run;

/// Which leak the child of a test has.
const LEAK: &str = "MILLRACE_TEST_LEAK";

fn planted_leak(kind: &str) {
    match kind {
        "none" => {}
        #[expect(clippy::disallowed_methods, reason = "the leak")]
        "file" => drop(std::fs::read("/etc/hostname")),
        #[expect(clippy::disallowed_methods, reason = "the leak")]
        "socket" => drop(std::net::TcpListener::bind("127.0.0.1:0")),
        #[expect(clippy::disallowed_methods, reason = "the leak")]
        "thread" => drop(std::thread::spawn(|| ())),
        "process" => drop(Command::new("/bin/true").status()),
        "entropy" => leak_entropy(),
        _ => unreachable!("no such leak"),
    }
}

/// As getrandom 0.2 does, which passes over the C library's function that madsim replaces.
#[expect(unsafe_code, reason = "the leak is a raw system call")]
#[inline(never)]
fn leak_entropy() {
    let mut bytes = [0u8; 8];
    // SAFETY: the buffer is valid for its length.
    unsafe { libc::syscall(libc::SYS_getrandom, bytes.as_mut_ptr(), bytes.len(), 0) };
}

/// Not a test: the process that the tests start.
#[test]
fn child() {
    let Ok(kind) = std::env::var(LEAK) else {
        return;
    };
    // Any thread that the test harness wants has been started.
    run(1, async move {
        arm(true).expect("the filter is taken");
        planted_leak(&kind);
    });
}

fn child_with(kind: &str) -> Output {
    let own = std::env::current_exe().expect("a test knows its file");
    Command::new(own)
        .args(["--exact", "simulated::leaks::tests::child", "--nocapture"])
        .env(LEAK, kind)
        .output()
        .expect("a test starts itself")
}

#[test]
fn planted_leaks_are_caught_with_their_callers() {
    let cases = [
        ("file", "openat", "planted_leak at "),
        ("socket", "socket", "planted_leak at "),
        ("entropy", "getrandom", "leak_entropy at "),
    ];
    for (kind, call, caller) in cases {
        let output = child_with(kind);
        let said = String::from_utf8_lossy(&output.stderr);
        let found = said.lines().find(|line| line.starts_with("leak: "));
        let found = found.unwrap_or_else(|| panic!("{kind}: {said}"));
        assert!(
            found.starts_with(&format!("leak: {call}")),
            "{kind}: {found}"
        );
        assert!(found.contains(caller), "{kind}: {found}");
        assert_eq!(output.status.code(), Some(EXIT_CODE), "{kind}: {said}");
    }
}

#[test]
fn a_planted_process_is_ended_by_the_system() {
    // The C library starts one with all signals blocked, so nothing can be said.
    let output = child_with("process");
    assert_eq!(output.status.signal(), Some(libc::SIGSYS), "{output:?}");
}

#[test]
fn a_planted_thread_is_refused_by_madsim() {
    let output = child_with("thread");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(!output.status.success(), "{said}");
    assert!(said.contains("attempt to spawn a system thread"), "{said}");
}

#[test]
fn simulated_code_runs_under_the_filter() {
    let output = child_with("none");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}");
}

#[test]
fn the_first_frame_outside_of_the_library_is_found() {
    let frames = "   0: answer\n             at ./simulated/leaks.rs:1:1\n   1: <unknown>\n   2: open64\n   \
                  3: <std::fs::File>::open\n             at /rustc/5/library/std/src/fs.rs:1:1\n   \
                  4: peek\n             at ./storage/files.rs:7:9\n";
    let found = first_outside(frames);
    assert_eq!(found.as_deref(), Some("peek at ./storage/files.rs:7:9"));
    assert_eq!(first_outside("   0: std::fs::File::open\n"), None);
}
