//! What the kernel tells of one process.

use anyhow::{Context, Result};

/// A file of `/proc`.
pub fn read(path: &str) -> Result<String> {
    std::fs::read_to_string(path).with_context(|| path.to_owned())
}

/// A size as `/proc/PID/status` and `/proc/meminfo` tell it, in bytes.
pub fn size_of(text: &str, name: &str) -> Option<u64> {
    let line = text.lines().find(|line| {
        line.strip_prefix(name)
            .is_some_and(|rest| rest.starts_with(':'))
    })?;
    let kib: u64 = line.split_whitespace().nth(1)?.parse().ok()?;
    Some(kib * 1024)
}

/// A size of a process, in bytes.
pub fn memory_bytes(pid: u32, name: &str) -> Result<u64> {
    size_of(&read(&format!("/proc/{pid}/status"))?, name).with_context(|| name.to_owned())
}

/// Nanoseconds on a processor, from `/proc/PID/task/TID/schedstat`.
fn scheduled_nanos(text: &str) -> Option<u64> {
    text.split_whitespace().next()?.parse().ok()
}

/// Seconds on a processor of the threads that a process has now, to the nanosecond.
pub fn threads_seconds(pid: u32) -> Result<f64> {
    let mut nanos = 0;
    for thread in std::fs::read_dir(format!("/proc/{pid}/task"))? {
        // A thread may end between being listed and being read.
        if let Ok(text) = std::fs::read_to_string(thread?.path().join("schedstat")) {
            nanos += scheduled_nanos(&text).unwrap_or(0);
        }
    }
    Ok(nanos as f64 / 1e9)
}

/// The process that a process has started, if it started one only: the broker of a strace.
pub fn child(pid: u32) -> Result<u32> {
    let children = read(&format!("/proc/{pid}/task/{pid}/children"))?;
    let first = children.split_whitespace().next();
    Ok(first.context("the process has no child")?.parse()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_have_whole_names() {
        let text = "VmRSS:\t   80 kB\nRssAnon:\t 40 kB\nRssAnonHuge: 8 kB\n";
        assert_eq!(size_of(text, "VmRSS"), Some(81_920));
        assert_eq!(size_of(text, "RssAnon"), Some(40_960));
        assert_eq!(size_of(text, "Rss"), None);
    }

    #[test]
    fn a_thread_says_how_long_it_ran() {
        assert_eq!(scheduled_nanos("123 45 6\n"), Some(123));
        assert_eq!(scheduled_nanos(""), None);
    }

    #[test]
    fn this_process_has_memory_and_has_run() {
        let me = std::process::id();
        assert!(memory_bytes(me, "VmRSS").expect("a size") > 0);
        assert!(memory_bytes(me, "Vm").is_err());
        assert!(threads_seconds(me).expect("times") > 0.0);
    }
}
