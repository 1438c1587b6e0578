//! The leak test: whoever reaches past the simulation for a file, a socket, a thread or entropy ends the process.
//!
//! [`arm`] forbids the system calls for it. A forbidden call prints what was asked for and the first frame outside the
//! standard library, and ends the process with [`EXIT_CODE`]. Files that were opened before can be written on. Where
//! the C library blocks all signals around the call, as for a new process or thread, the process dies of SIGSYS and
//! says nothing.

use std::backtrace::Backtrace;
use std::cell::Cell;
use std::sync::atomic::{AtomicBool, Ordering};

/// The exit code of a process in which something leaked.
pub const EXIT_CODE: i32 = 86;

/// The forbidden system calls, by name.
const FORBIDDEN: &[(&str, i64)] = &[
    #[cfg(target_arch = "x86_64")]
    ("open", libc::SYS_open),
    #[cfg(target_arch = "x86_64")]
    ("creat", libc::SYS_creat),
    #[cfg(target_arch = "x86_64")]
    ("fork", libc::SYS_fork),
    #[cfg(target_arch = "x86_64")]
    ("vfork", libc::SYS_vfork),
    ("openat", libc::SYS_openat),
    ("openat2", libc::SYS_openat2),
    ("socket", libc::SYS_socket),
    ("clone", libc::SYS_clone),
    ("clone3", libc::SYS_clone3),
    ("execve", libc::SYS_execve),
    ("getrandom", libc::SYS_getrandom),
];

/// Parts of the paths of the standard library's, the C library's and the handler's sources.
const PATHS_PASSED_OVER: &[&str] = &[
    "/rustc/",
    "/sysdeps/",
    "simulated/leaks.rs",
    // Relative to where a test runs.
    "/interposed.rs",
];
/// Starts of the functions of the standard and C library, where no path is known.
const FUNCTIONS_PASSED_OVER: &[&str] = &[
    "<unknown>",
    "std::",
    "core::",
    "alloc::",
    "<std::",
    "<core::",
    "<alloc::",
    "__",
    "open",
    "creat",
    "socket",
    "clone",
    "fork",
    "vfork",
    "pthread_",
    "posix_spawn",
    "syscall",
    "getrandom",
];

/// Whether callers can be named.
static HAS_NAMES: AtomicBool = AtomicBool::new(true);

/// Forbids the calls from now on, for all of this process and for ever. To name callers takes a tenth of a second at
/// the beginning: the names of functions are read from the executable's file, which cannot be opened later. Whoever
/// does without runs the same seed again with names.
///
/// # Errors
/// If the operating system takes no filter.
pub fn arm(with_names: bool) -> std::io::Result<()> {
    HAS_NAMES.store(with_names, Ordering::Relaxed);
    if with_names {
        let names = Backtrace::force_capture().to_string();
        assert!(
            names.contains("leaks"),
            "the executable has no names of functions"
        );
    }
    let numbers: Vec<i64> = FORBIDDEN.iter().map(|forbidden| forbidden.1).collect();
    sys::forbid(&numbers)
}

thread_local! {
    static IN_MADSIM: Cell<bool> = const { Cell::new(false) };
}

/// Whether a task of a simulated node is running on this thread, and nothing that was asked of madsim.
pub fn is_simulated() -> bool {
    !IN_MADSIM.get() && !super::world::has_ended() && super::executor::is_on_core()
}

/// Asks something of madsim, which looks at its own clock.
pub fn in_madsim<T>(ask: impl FnOnce() -> T) -> T {
    let before = IN_MADSIM.replace(true);
    let answer = ask();
    IN_MADSIM.set(before);
    answer
}

/// The function that made the call from which this is asked, and where.
pub fn caller() -> String {
    if !HAS_NAMES.load(Ordering::Relaxed) {
        return "somebody whom a run with --leak-names tells".to_owned();
    }
    let frames = Backtrace::force_capture().to_string();
    first_outside(&frames).unwrap_or_else(|| "an unknown function".to_owned())
}

/// What is said of a forbidden call.
fn answer(number: i64) -> String {
    let name = FORBIDDEN.iter().find(|forbidden| forbidden.1 == number);
    let name = name.map_or("a system call", |forbidden| forbidden.0);
    let frames = match HAS_NAMES.load(Ordering::Relaxed) {
        true => Backtrace::force_capture().to_string(),
        false => String::new(),
    };
    format!(
        "leak: {name} in simulated code, from {}\n{frames}",
        caller()
    )
}

/// The first function of a printed backtrace, with its place, that is neither a library's nor the handler's.
fn first_outside(frames: &str) -> Option<String> {
    let mut lines = frames.lines().map(str::trim_start).peekable();
    while let Some(line) = lines.next() {
        let Some((_, function)) = line
            .split_once(": ")
            .filter(|(number, _)| number.parse::<u32>().is_ok())
        else {
            continue;
        };
        let place = lines.next_if(|line| line.starts_with("at "));
        let passed_over = match place {
            Some(place) => PATHS_PASSED_OVER.iter().any(|part| place.contains(part)),
            None => FUNCTIONS_PASSED_OVER
                .iter()
                .any(|start| function.starts_with(start)),
        };
        if !passed_over {
            return Some(format!(
                "{function} {}",
                place.unwrap_or("at an unknown place")
            ));
        }
    }
    None
}

/// What cannot be asked of the operating system without unsafe code.
#[expect(unsafe_code, reason = "a filter of system calls and a signal handler")]
mod sys {
    use std::io;

    /// `siginfo_t` of SIGSYS on Linux: three ints, padding, the address of the call, then its number.
    const NUMBER_OFFSET: usize = 24;
    const LOAD_NUMBER: u16 = (libc::BPF_LD | libc::BPF_W | libc::BPF_ABS) as u16;
    const JUMP_IF_EQUAL: u16 = (libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K) as u16;
    const RETURN: u16 = (libc::BPF_RET | libc::BPF_K) as u16;

    fn instruction(code: u16, jump_true: u8, jump_false: u8, k: u32) -> libc::sock_filter {
        libc::sock_filter {
            code,
            jt: jump_true,
            jf: jump_false,
            k,
        }
    }

    /// The filter: the number of the call, compared with each forbidden one.
    fn filter(numbers: &[i64]) -> Vec<libc::sock_filter> {
        let mut program = vec![instruction(LOAD_NUMBER, 0, 0, 0)];
        for (index, number) in numbers.iter().enumerate() {
            let to_trap = u8::try_from(numbers.len() - index).expect("a short list");
            let number = u32::try_from(*number).expect("a small number");
            program.push(instruction(JUMP_IF_EQUAL, to_trap, 0, number));
        }
        program.push(instruction(RETURN, 0, 0, libc::SECCOMP_RET_ALLOW));
        program.push(instruction(RETURN, 0, 0, libc::SECCOMP_RET_TRAP));
        program
    }

    pub(super) fn forbid(numbers: &[i64]) -> io::Result<()> {
        let mut program = filter(numbers);
        let filter = libc::sock_fprog {
            len: u16::try_from(program.len()).expect("a short program"),
            filter: program.as_mut_ptr(),
        };
        // SAFETY: the action is zeroed, which is an empty mask, and names a handler of the right type; the filter
        // points to a program that outlives the call, which copies it.
        let refused = unsafe {
            let mut action: libc::sigaction = std::mem::zeroed();
            action.sa_sigaction = trapped as *const () as usize;
            action.sa_flags = libc::SA_SIGINFO;
            libc::sigaction(libc::SIGSYS, &action, std::ptr::null_mut()) != 0
                || libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0
                || libc::prctl(libc::PR_SET_SECCOMP, libc::SECCOMP_MODE_FILTER, &filter) != 0
        };
        if refused {
            return Err(io::Error::last_os_error());
        }
        Ok(())
    }

    /// The handler. It runs in the place of the call, on the thread that made it, so it may do what the caller might;
    /// it does not return.
    extern "C" fn trapped(
        _: libc::c_int,
        information: *const libc::siginfo_t,
        _: *const libc::c_void,
    ) {
        // SAFETY: the kernel hands over a siginfo_t, 128 bytes, with the number at this place for SIGSYS.
        let number = unsafe {
            information
                .cast::<u8>()
                .add(NUMBER_OFFSET)
                .cast::<libc::c_int>()
                .read_unaligned()
        };
        let said = super::answer(i64::from(number));
        // SAFETY: the buffer is valid for its length.
        unsafe {
            libc::write(libc::STDERR_FILENO, said.as_ptr().cast(), said.len());
            libc::_exit(super::EXIT_CODE);
        }
    }
}

#[cfg(test)]
#[path = "leaks_tests.rs"]
mod tests;
