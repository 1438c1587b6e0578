//! A history as lines of JSON, so that it can be kept and judged again.

use super::{History, Operation};
use std::io::{BufRead, Write};

/// The first line of every stored history.
const HEADER: &str = r#"{"format":"millrace-history","version":1}"#;

/// Why a text is no stored history.
#[derive(Debug, thiserror::Error)]
pub enum LinesError {
    /// It cannot be read at all.
    #[error("cannot read the history: {0}")]
    Read(#[from] std::io::Error),
    /// It does not begin as a history of this version does.
    #[error("the first line of a history is {HEADER}, not {0}")]
    Header(String),
    /// One line is no operation.
    #[error("line {line} is no operation: {reason}")]
    Line {
        /// Counted from 1.
        line: usize,
        /// What is wrong.
        reason: String,
    },
}

/// Writes one line for each operation, after a line that names the format.
///
/// # Errors
/// Those of `out`.
pub fn write_lines(history: &History, out: &mut dyn Write) -> std::io::Result<()> {
    writeln!(out, "{HEADER}")?;
    for operation in &history.operations {
        serde_json::to_writer(&mut *out, operation)?;
        writeln!(out)?;
    }
    Ok(())
}

/// Reads what [`write_lines`] wrote.
///
/// # Errors
/// See [`LinesError`].
pub fn read_lines(input: &mut dyn BufRead) -> Result<History, LinesError> {
    let mut lines = input.lines();
    let header = lines.next().transpose()?.unwrap_or_default();
    if header != HEADER {
        return Err(LinesError::Header(header));
    }
    let mut history = History::default();
    for (index, line) in lines.enumerate() {
        let wrong = |reason: String| LinesError::Line {
            line: index + 2,
            reason,
        };
        let operation: Operation =
            serde_json::from_str(&line?).map_err(|error| wrong(error.to_string()))?;
        if operation.index as usize != index {
            return Err(wrong(format!("its index is {}", operation.index)));
        }
        history.operations.push(operation);
    }
    Ok(history)
}
