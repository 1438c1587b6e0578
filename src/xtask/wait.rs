//! Waiting: something is asked for again and again.

use anyhow::Result;
use std::process::Child;
use std::time::{Duration, Instant};

/// Asks until the answer is something, with a pause of `every` behind each one that is not; gives nothing when that was
/// in vain for as long as `limit`.
pub fn until<T>(
    limit: Duration,
    every: Duration,
    mut ask: impl FnMut() -> Result<Option<T>>,
) -> Result<Option<T>> {
    let began = Instant::now();
    loop {
        let found = ask()?;
        if found.is_some() || began.elapsed() >= limit {
            return Ok(found);
        }
        std::thread::sleep(every);
    }
}

/// Waits until a process that was started does what it was started for: whether it does, before it ends and before
/// `limit` is over.
pub fn until_up(
    process: &mut Child,
    limit: Duration,
    every: Duration,
    is_up: impl Fn() -> bool,
) -> Result<bool> {
    let known = until(limit, every, || {
        if is_up() {
            return Ok(Some(true));
        }
        let is_running = process.try_wait()?.is_none();
        Ok((!is_running).then_some(false))
    })?;
    Ok(known.unwrap_or(false))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::process::Command;

    const LONG: Duration = Duration::from_secs(600);

    #[test]
    fn it_is_asked_until_the_answer_is_something() {
        let mut asked = 0;
        let found = until(LONG, Duration::ZERO, || {
            asked += 1;
            Ok((asked == 3).then_some(asked))
        });
        assert_eq!(found.expect("no error"), Some(3));
    }

    #[test]
    fn it_is_asked_once_even_without_time() {
        let mut asked = 0;
        let found = until(Duration::ZERO, LONG, || {
            asked += 1;
            Ok(None::<()>)
        });
        assert_eq!((found.expect("no error"), asked), (None, 1));
    }

    #[test]
    fn a_process_that_has_ended_is_not_waited_for() {
        let mut process = Command::new("true").spawn().expect("every system has it");
        let is_up = until_up(&mut process, LONG, Duration::from_millis(1), || false);
        assert!(!is_up.expect("no error"));
    }
}
