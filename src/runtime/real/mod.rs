//! The real half: tokio, rustix, threads.

pub(crate) mod clock;
pub(crate) mod disk;
pub(crate) mod net;
mod pool;
pub(crate) mod task;

use std::future::poll_fn;
use std::io;
use std::task::Poll;
use std::time::Duration;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use rustix::rand::{GetRandomFlags, getrandom};
use tokio::signal::unix::{SignalKind, signal};

/// See [`crate::rng::entropy`].
pub(crate) fn entropy() -> u64 {
    let mut bytes = [0u8; 8];
    let mut filled = 0;
    while filled < bytes.len() {
        match getrandom(&mut bytes[filled..], GetRandomFlags::empty()) {
            Ok(count) => filled += count,
            Err(rustix::io::Errno::INTR) => {}
            Err(error) => panic!("the operating system gives no entropy: {error}"),
        }
    }
    u64::from_ne_bytes(bytes)
}

/// See [`crate::signal::terminated`].
pub(crate) fn terminated() -> io::Result<impl Future<Output = ()>> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    Ok(poll_fn(move |cx| {
        let asked = terminate.poll_recv(cx).is_ready() || interrupt.poll_recv(cx).is_ready();
        if asked {
            Poll::Ready(())
        } else {
            Poll::Pending
        }
    }))
}

/// See [`crate::process::open_files_max`].
pub(crate) fn open_files_max() -> u64 {
    let limit = getrlimit(Resource::Nofile);
    let raised = Rlimit {
        current: limit.maximum,
        maximum: limit.maximum,
    };
    // A refusal leaves the soft limit as it was, which is then the truth.
    let granted = match setrlimit(Resource::Nofile, raised) {
        Ok(()) => limit.maximum,
        Err(_) => limit.current,
    };
    granted.unwrap_or(u64::MAX)
}

/// See [`crate::process::use_small_pages`].
pub(crate) fn use_small_pages() {
    // A kernel without huge pages has none to refuse.
    let _ = rustix::thread::disable_transparent_huge_pages(true);
}

/// See [`crate::process::cpu_time`].
pub(crate) fn cpu_time() -> Duration {
    let used = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
    // Neither part is negative: a process has used time, not lent it.
    Duration::new(
        used.tv_sec.unsigned_abs(),
        used.tv_nsec.unsigned_abs() as u32,
    )
}

/// See [`crate::process::core_count`].
pub(crate) fn core_count() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

/// An empty directory for a test, removed with it.
#[cfg(test)]
pub(crate) struct TestPlace {
    directory: tempfile::TempDir,
}

#[cfg(test)]
impl TestPlace {
    pub(crate) fn new() -> TestPlace {
        TestPlace {
            directory: tempfile::tempdir().expect("a temporary directory can be made"),
        }
    }

    pub(crate) fn path(&self) -> &std::path::Path {
        self.directory.path()
    }
}
