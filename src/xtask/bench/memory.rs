//! The machine between two runs: memory that is there, nothing left to write, nobody at work.
//!
//! A virtual machine gives memory that is freed back to its host, and the next touch of it costs about two seconds of
//! the processor a gigabyte: whoever writes first after something was deleted looks several times dearer than he is.
//! Memory that is filled and freed again is given back again. So the page cache is filled and stays filled: before each
//! run a file is read until hardly anything is free. The file is a hole, so nothing comes from the disk, and each of its
//! pages is read once only, so the kernel takes them first when the broker needs some.

use super::plan::Mode;
use super::proc;
use super::result::Noise;
use crate::wait;
use anyhow::{Result, ensure};
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::process::Command;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// Memory that is left free: the kernel begins to reclaim somewhat below.
const FREE_LEFT: u64 = 512 << 20;
/// Size of the hole; no page is read twice before all were.
const HOLE_BYTES: u64 = 8 << 40;
/// Bytes between two looks at what is free.
const PART_BYTES: u64 = 64 << 20;
/// Bytes of one read: they stay in the processor's cache.
const READ_BYTES: u64 = 256 << 10;
/// What may still be unwritten when a run begins.
const DIRTY_MAX: u64 = 10 << 20;
/// How long the disk may take to get there.
const SETTLE_MAX: Duration = Duration::from_secs(120);
/// For how long the machine is watched before a run.
const WATCH: Duration = Duration::from_secs(1);

/// The file with which the page cache is filled.
pub struct Filler {
    file: File,
    at: AtomicU64,
}

impl Filler {
    /// Makes the file in a folder on the disk that is measured.
    pub fn new(folder: &Path) -> Result<Filler> {
        let path = folder.join("hole");
        let file = File::options()
            .read(true)
            .write(true)
            .create(true)
            .truncate(true)
            .open(&path)?;
        file.set_len(HOLE_BYTES)?;
        // It needs no name and goes with this program.
        std::fs::remove_file(path)?;
        Ok(Filler {
            file,
            at: AtomicU64::new(0),
        })
    }

    /// Reads until hardly any memory is free, or for as long as there is patience: what is left free then is noted with
    /// the run.
    pub fn fill(&self, mode: Mode) -> Result<()> {
        let patience = Duration::from_secs(match mode {
            Mode::Quick => 20,
            Mode::Full => 90,
        });
        let end = Instant::now() + patience;
        let threads = std::thread::available_parallelism()?.get();
        std::thread::scope(|scope| {
            let running: Vec<_> = (0..threads)
                .map(|_| scope.spawn(|| self.fill_until(end)))
                .collect();
            running
                .into_iter()
                .try_for_each(|thread| thread.join().expect("a thread that reads does not panic"))
        })
    }

    fn fill_until(&self, end: Instant) -> Result<()> {
        let mut buffer = vec![0; READ_BYTES as usize];
        while proc::memory("MemFree")? > FREE_LEFT && Instant::now() < end {
            let part = self.at.fetch_add(PART_BYTES, Ordering::Relaxed) % HOLE_BYTES;
            for at in (part..part + PART_BYTES).step_by(READ_BYTES as usize) {
                self.file.read_exact_at(&mut buffer, at)?;
            }
        }
        Ok(())
    }
}

/// Waits until everything is on the disk.
pub fn sync() -> Result<()> {
    let status = Command::new("sync").status()?;
    ensure!(status.success(), "sync ended with {status}");
    // A disk that does not get there in time is noise of the run.
    wait::until(SETTLE_MAX, Duration::from_millis(50), || {
        let unwritten = proc::memory("Dirty")? + proc::memory("Writeback")?;
        Ok((unwritten <= DIRTY_MAX).then_some(()))
    })?;
    Ok(())
}

/// Watches the machine while both brokers stand still.
pub fn watch() -> Result<Noise> {
    let load_before = proc::load_average()?;
    let (began, before) = (Instant::now(), proc::host_now()?);
    std::thread::sleep(WATCH);
    let after = proc::host_now()?;
    // Ticks are hundredths of a second of one processor.
    let busy = after.busy.saturating_sub(before.busy) as f64 / 100.0;
    Ok(Noise {
        load_before,
        busy_before: busy / began.elapsed().as_secs_f64(),
        free_gb_before: proc::memory("MemFree")? as f64 / 1e9,
        ..Noise::default()
    })
}

/// Takes the pages of every file of a folder out of the page cache; they must be on the disk already.
pub fn forget(folder: &Path) -> Result<()> {
    for entry in std::fs::read_dir(folder)? {
        let path = entry?.path();
        if path.extension().is_some_and(|extension| extension == "log") {
            let status = Command::new("dd")
                .arg(format!("if={}", path.display()))
                .args(["iflag=nocache", "count=0", "status=none"])
                .status()?;
            ensure!(status.success(), "dd ended with {status}");
        }
    }
    Ok(())
}
