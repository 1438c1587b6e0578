//! Standard output, whose reader may have gone.

use std::fmt::Arguments;
use std::io::{ErrorKind, Write, stdout};
use std::process::exit;

/// Code for an end before the verdict was told to anybody.
const NOT_TOLD: i32 = 2;

/// Writes to standard output. Ends the process quietly if nobody reads it any more, as `head` does.
///
/// # Panics
/// If standard output fails in another way.
pub(crate) fn print(text: Arguments<'_>) {
    match stdout().write_fmt(text) {
        Err(error) if error.kind() == ErrorKind::BrokenPipe => exit(NOT_TOLD),
        printed => printed.expect("standard output takes what is written"),
    }
}

/// As `println!`, for a reader that may have gone.
macro_rules! sayln {
    ($($said:tt)*) => {
        $crate::cli::say::print(format_args!("{}\n", format_args!($($said)*)))
    };
}
