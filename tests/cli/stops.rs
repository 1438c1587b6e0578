//! A node is asked to end at a moment that nobody has chosen well.

use std::process::{Command, Stdio};

use crate::harness::{MILLRACE, Node};

/// It takes the request while it starts, and stops as cleanly as it would later.
#[test]
fn a_start_that_is_interrupted_ends_in_a_clean_stop() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut child = Command::new(MILLRACE)
        .args(["serve", "--http", "off", "--cores", "1"])
        .args(["--override", "listeners=PLAINTEXT://127.0.0.1:0"])
        .current_dir(folder.path())
        .stdout(Stdio::null())
        .spawn()
        .expect("the executable");
    // The first thing that a start leaves behind.
    let data = folder.path().join("millrace-data");
    while !data.exists() {
        let ended = child.try_wait().expect("the child is ours");
        assert!(ended.is_none(), "the start failed: {ended:?}");
        std::thread::yield_now();
    }
    let id = child.id().to_string();
    let asked = Command::new("kill").args(["-TERM", &id]).status();
    assert!(asked.expect("kill").success());
    let ended = child.wait().expect("it ends");
    assert!(ended.success(), "{ended}");
    assert!(data.join(".kafka_cleanshutdown").exists());
}

/// Whoever reads the line that says ready may ask at once.
#[test]
fn a_node_that_has_just_said_ready_stops_cleanly() {
    let folder = Node::start().stop();
    let mark = folder.path().join("millrace-data/.kafka_cleanshutdown");
    assert!(mark.exists());
}
