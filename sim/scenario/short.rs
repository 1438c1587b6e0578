//! A fault as a person writes it: `when` is a line, the fault's own fields stand beside it.

use toml::{Table, Value};

use crate::plan::{Event, Fault, FaultPlan, When};

/// Reads a fault.
pub(super) fn fault(mut table: Table) -> Result<FaultPlan, String> {
    let when = match table.remove("when") {
        Some(Value::String(line)) => when(&line)?,
        Some(other) => other.try_into().map_err(|error| format!("when: {error}"))?,
        None => return Err("when: it is missing".into()),
    };
    let for_ms = match table.remove("for_ms") {
        Some(value) => value
            .try_into()
            .map_err(|error| format!("for_ms: {error}"))?,
        None => 0,
    };
    let fault = match table.remove("fault") {
        Some(Value::Table(inner)) if table.is_empty() => inner,
        Some(_) => return Err("fault: a table, and no other fields beside it".into()),
        None => table,
    };
    let fault: Fault = fault
        .try_into()
        .map_err(|error: toml::de::Error| error.message().to_owned())?;
    Ok(FaultPlan {
        when,
        for_ms,
        fault,
    })
}

/// Reads `at 5000 ms`, `at 5 s`, or `KIND [#N] [of PART] [on NODE] [after N ms] [before N ms]`.
pub(super) fn when(line: &str) -> Result<When, String> {
    let wrong = |reason: &str| format!("when: `{line}`: {reason}");
    let words: Vec<&str> = line.split_whitespace().collect();
    if let ["at", rest @ ..] = words.as_slice() {
        let at_ms = millis(rest).ok_or_else(|| wrong("`at 5000 ms` or `at 5 s`"))?;
        return Ok(When::AtMs(at_ms));
    }
    let mut words = words.into_iter().peekable();
    let mut event = Event {
        kind: words.next().ok_or_else(|| wrong("it is empty"))?.to_owned(),
        node: String::new(),
        contains: String::new(),
        nth: 1,
        after_ms: 0,
        before_ms: 0,
    };
    while let Some(word) = words.next() {
        let mut next = || words.next().ok_or_else(|| wrong("it ends too early"));
        match word {
            "of" => event.contains = next()?.to_owned(),
            "on" => event.node = next()?.to_owned(),
            "after" => {
                let span = [next()?, next()?];
                event.after_ms = millis(&span).ok_or_else(|| wrong("`after 5000 ms`"))?;
            }
            "before" => {
                let span = [next()?, next()?];
                event.before_ms = millis(&span).ok_or_else(|| wrong("`before 5000 ms`"))?;
            }
            word => {
                let number = word
                    .strip_prefix('#')
                    .and_then(|number| number.parse().ok());
                let number = number.filter(|&number: &u32| number > 0);
                event.nth = number.ok_or_else(|| wrong(&format!("`{word}` is not understood")))?;
            }
        }
    }
    Ok(When::Event(event))
}

fn millis(words: &[&str]) -> Option<u64> {
    match words {
        [number, "ms"] => number.parse().ok(),
        [number, "s"] => number.parse::<u64>().ok()?.checked_mul(1_000),
        _ => None,
    }
}

/// Writes a fault so that [`fault`] reads it.
pub(super) fn text(planned: &FaultPlan) -> String {
    let mut text = format!("when = \"{}\"\n", when_text(&planned.when));
    if planned.for_ms > 0 {
        text.push_str(&format!("for_ms = {}\n", planned.for_ms));
    }
    text + &toml::to_string(&planned.fault).expect("a fault is plain data")
}

fn when_text(when: &When) -> String {
    let event = match when {
        When::AtMs(at_ms) => return format!("at {at_ms} ms"),
        When::Event(event) => event,
    };
    let mut text = format!("{} #{}", event.kind, event.nth);
    for (word, value) in [("of", &event.contains), ("on", &event.node)] {
        if !value.is_empty() {
            text.push_str(&format!(" {word} {value}"));
        }
    }
    if event.after_ms > 0 {
        text.push_str(&format!(" after {} ms", event.after_ms));
    }
    if event.before_ms > 0 {
        text.push_str(&format!(" before {} ms", event.before_ms));
    }
    text
}

/// Writes out the steps that a client repeats: `FROM..TO/EVERY OPERATION` is one at each of these milliseconds.
pub(super) fn repeat_steps(client: &mut Table) -> Result<(), String> {
    let Some(Value::Array(steps)) = client.get_mut("steps") else {
        return Ok(());
    };
    let mut all: Vec<(u64, String)> = Vec::new();
    for step in steps.iter() {
        let line = step.as_str().ok_or("a step is a line of text")?;
        let (at, operation) = line
            .trim()
            .split_once(' ')
            .ok_or_else(|| format!("`{line}`: a step is `<millisecond> <operation>`"))?;
        let times = times(at).ok_or_else(|| format!("`{line}`: it begins with a millisecond"))?;
        all.extend(times.map(|at_ms| (at_ms, operation.to_owned())));
    }
    // Of steps at the same time, the first written comes first.
    all.sort_by_key(|(at_ms, _)| *at_ms);
    let lines = all
        .into_iter()
        .map(|(at, operation)| format!("{at} {operation}"));
    *steps = lines.map(Value::String).collect();
    Ok(())
}

/// `5000` or `1000..9000/250`.
fn times(text: &str) -> Option<impl Iterator<Item = u64>> {
    let (from, to, every) = match text.split_once("..") {
        None => {
            let at = text.parse().ok()?;
            (at, at + 1, 1)
        }
        Some((from, rest)) => {
            let (to, every) = rest.split_once('/')?;
            (from.parse().ok()?, to.parse().ok()?, every.parse().ok()?)
        }
    };
    (every > 0).then(|| (from..to).step_by(every))
}
