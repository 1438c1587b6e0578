//! Calls for the real clock and for entropy that simulated code makes past `runtime`.
//!
//! madsim answers them from the world's seed and time, so they are no leak yet; but they pass over the node's own
//! clock and stream, and whoever makes them does not know of the simulation. The linker leads each such call of the
//! whole program here first (see `build.rs`): while a task of a simulated node runs, it is remembered with its caller.
//! Each is a finding.

use std::cell::{Cell, RefCell};

use runtime::simulated::leaks;

/// Calls whose callers are looked for.
const LOOKED_AT_MAX: u64 = 64;

thread_local! {
    static CALLERS: RefCell<Vec<(&'static str, String)>> = const { RefCell::new(Vec::new()) };
    static COUNT: Cell<u64> = const { Cell::new(0) };
    /// Calls for entropy, also outside of simulated code.
    static ENTROPY: Cell<u64> = const { Cell::new(0) };
    static INSIDE: Cell<bool> = const { Cell::new(false) };
}

/// What simulated code asked for past `runtime`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Interposed {
    /// How often.
    pub count: u64,
    /// The first calls, each with the function that made it.
    pub callers: Vec<(&'static str, String)>,
}

/// Forgets what was counted on this thread.
pub fn begin() {
    COUNT.set(0);
    CALLERS.take();
}

/// What was counted on this thread since [`begin`].
pub fn take() -> Interposed {
    Interposed {
        count: COUNT.take(),
        callers: CALLERS.take(),
    }
}

/// Calls for entropy of this thread so far, by anybody: the standard library makes one before its first hash table.
pub fn entropy_calls() -> u64 {
    ENTROPY.get()
}

fn called(call: &'static str) {
    // Whoever looks for a caller may itself look at the clock.
    if !leaks::is_simulated() || INSIDE.replace(true) {
        return;
    }
    COUNT.set(COUNT.get() + 1);
    if COUNT.get() <= LOOKED_AT_MAX {
        let found = (call, leaks::caller());
        CALLERS.with_borrow_mut(|callers| match callers.contains(&found) {
            true => {}
            false => callers.push(found),
        });
    }
    INSIDE.set(false);
}

/// Somebody asks for so many random bytes; madsim asks for none to see whether it may.
fn entropy(length_bytes: usize) {
    ENTROPY.set(ENTROPY.get() + u64::from(length_bytes > 0));
}

/// What the linker names.
#[expect(
    unsafe_code,
    reason = "functions that the linker puts before those of the C library"
)]
mod linked {
    use super::{called, entropy};

    unsafe extern "C" {
        fn __real_clock_gettime(clock: libc::clockid_t, time: *mut libc::timespec) -> libc::c_int;
        fn __real_gettimeofday(time: *mut libc::timeval, zone: *mut libc::c_void) -> libc::c_int;
        fn __real_getrandom(
            buffer: *mut libc::c_void,
            length: libc::size_t,
            flags: libc::c_uint,
        ) -> libc::ssize_t;
        fn __real_getentropy(buffer: *mut libc::c_void, length: libc::size_t) -> libc::c_int;
    }

    // SAFETY, of all four: the arguments are handed on as they came to what would have been called without us.

    #[unsafe(no_mangle)]
    unsafe extern "C" fn __wrap_clock_gettime(
        clock: libc::clockid_t,
        time: *mut libc::timespec,
    ) -> libc::c_int {
        called("clock_gettime");
        unsafe { __real_clock_gettime(clock, time) }
    }

    #[unsafe(no_mangle)]
    unsafe extern "C" fn __wrap_gettimeofday(
        time: *mut libc::timeval,
        zone: *mut libc::c_void,
    ) -> libc::c_int {
        called("gettimeofday");
        unsafe { __real_gettimeofday(time, zone) }
    }

    #[unsafe(no_mangle)]
    unsafe extern "C" fn __wrap_getrandom(
        buffer: *mut libc::c_void,
        length: libc::size_t,
        flags: libc::c_uint,
    ) -> libc::ssize_t {
        entropy(length);
        called("getrandom");
        unsafe { __real_getrandom(buffer, length, flags) }
    }

    #[unsafe(no_mangle)]
    unsafe extern "C" fn __wrap_getentropy(
        buffer: *mut libc::c_void,
        length: libc::size_t,
    ) -> libc::c_int {
        entropy(length);
        called("getentropy");
        unsafe { __real_getentropy(buffer, length) }
    }
}

#[cfg(test)]
#[path = "interposed_tests.rs"]
mod tests;
