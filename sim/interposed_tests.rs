//! One planted call of each kind.

use super::*;

#[expect(unsafe_code, reason = "the planted call")]
#[inline(never)]
fn planted_call(kind: &str) {
    match kind {
        "none" => drop(runtime::simulated::world::now_nanos()),
        #[expect(clippy::disallowed_methods, reason = "the planted call")]
        "monotonic clock" => drop(std::time::Instant::now()),
        #[expect(clippy::disallowed_methods, reason = "the planted call")]
        "wall clock" => drop(std::time::SystemTime::now()),
        "time of day" => {
            let mut now = libc::timeval {
                tv_sec: 0,
                tv_usec: 0,
            };
            // SAFETY: the result is there to be written; no zone is asked for.
            unsafe { libc::gettimeofday(&mut now, std::ptr::null_mut()) };
        }
        "random bytes" => {
            let mut bytes = [0u8; 8];
            // SAFETY: the buffer is valid for its length.
            unsafe { libc::getrandom(bytes.as_mut_ptr().cast(), bytes.len(), 0) };
        }
        "entropy" => {
            let mut bytes = [0u8; 8];
            // SAFETY: the buffer is valid for its length.
            unsafe { libc::getentropy(bytes.as_mut_ptr().cast(), bytes.len()) };
        }
        _ => unreachable!("no such call"),
    }
}

#[test]
fn planted_calls_are_caught_with_their_callers() {
    for (kind, call) in [
        ("none", None),
        ("monotonic clock", Some("clock_gettime")),
        ("wall clock", Some("clock_gettime")),
        ("time of day", Some("gettimeofday")),
        ("random bytes", Some("getrandom")),
        ("entropy", Some("getentropy")),
    ] {
        begin();
        planted_call(kind);
        assert_eq!(take(), Interposed::default(), "{kind}, outside of a world");
        runtime::simulated::run(1, async move { planted_call(kind) });
        let found = take();
        assert_eq!(found.count > 0, call.is_some(), "{kind}: {found:?}");
        // One may lead to another: getentropy asks getrandom.
        let is_ours =
            |one: &(&str, String)| Some(one.0) == call && one.1.contains("interposed_tests.rs");
        let is_told = found.callers.iter().any(is_ours);
        assert_eq!(is_told, call.is_some(), "{kind}: {found:?}");
    }
}

#[test]
fn a_world_seeds_the_hashers_of_its_thread() {
    let asks_of_a_world = |hashes_before: bool| {
        let thread = move || {
            if hashes_before {
                drop(std::hash::RandomState::new());
            }
            let before = entropy_calls();
            runtime::simulated::run(1, async {});
            entropy_calls() - before
        };
        #[expect(
            clippy::disallowed_methods,
            reason = "a world needs a thread that has hashed nothing"
        )]
        let thread = std::thread::spawn(thread);
        thread.join().expect("a world ends")
    };
    assert!(asks_of_a_world(false) > 0);
    assert_eq!(
        asks_of_a_world(true),
        0,
        "the order of hash tables is not the seed's"
    );
}
