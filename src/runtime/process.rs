//! What the operating system grants this process, and what it took.

use std::time::Duration;

/// How many descriptors the process may have open. The first call raises the soft limit to the hard one.
///
/// Simulated: a fixed 65,536.
pub fn open_files_max() -> u64 {
    crate::half::open_files_max()
}

/// Asks for memory in pages of the usual size, also where the system gives huge ones unasked: what is resident is then
/// what was used. A system that refuses goes on as it was.
///
/// Simulated: nothing.
pub fn use_small_pages() {
    crate::half::use_small_pages();
}

/// How much of the processor's time the process has used, by all its threads, in user and system mode.
///
/// Simulated: none, for that is not the same twice.
pub fn cpu_time() -> Duration {
    crate::half::cpu_time()
}

/// How many cores the process may run on, at least 1. Simulated: 1.
pub fn core_count() -> usize {
    crate::half::core_count()
}
