//! A history as Jepsen reads it.

use super::{Body, History, Key, Operation, Read, Seek, Send, Stage};
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io::Write;

/// Writes the operations that Jepsen's own Kafka checker knows, one map a line: `assign`, `subscribe`, `send`, `poll` and `crash`.
///
/// Jepsen wants small numbers for keys and indices without holes: both are given anew, keys in the order in which they appear.
///
/// # Errors
/// Those of `out`.
pub fn write_edn(history: &History, out: &mut dyn Write) -> std::io::Result<()> {
    let mut writer = Edn::default();
    for operation in &history.operations {
        if let Some(line) = writer.line(operation) {
            writeln!(out, "{line}")?;
        }
    }
    Ok(())
}

#[derive(Default)]
struct Edn {
    keys: BTreeMap<Key, usize>,
    index: usize,
}

impl Edn {
    fn line(&mut self, operation: &Operation) -> Option<String> {
        let value = self.value(operation)?;
        let stage = match operation.stage {
            Stage::Invoke => ":invoke",
            Stage::Ok => ":ok",
            Stage::Fail => ":fail",
            Stage::Info => ":info",
        };
        let mut line = format!(
            "{{:index {}, :time {}, :type {stage}, :process {}, :f :{}, :value {value}",
            self.index,
            operation.time,
            operation.process,
            operation.body.name(),
        );
        self.index += 1;
        if let Body::Assign { seeks, .. } = &operation.body
            && !seeks.is_empty()
            && seeks.iter().all(|(_, seek)| *seek == Seek::Beginning)
        {
            line.push_str(", :seek-to-beginning? true");
        }
        if !operation.rebalance_log.is_empty() {
            let logs: Vec<String> = operation
                .rebalance_log
                .iter()
                .map(|log| self.keys(log.assigned.iter().chain(&log.revoked)))
                .map(|keys| format!("{{:keys {keys}}}"))
                .collect();
            write!(line, ", :rebalance-log [{}]", logs.join(" ")).expect("a string takes it");
        }
        line.push('}');
        Some(line)
    }

    fn value(&mut self, operation: &Operation) -> Option<String> {
        match &operation.body {
            Body::Assign { keys, .. } | Body::Subscribe { keys, .. } => Some(self.keys(keys)),
            Body::Send { sends, .. } => Some(self.sends(operation.stage, sends)),
            Body::Poll { .. } if operation.stage == Stage::Invoke => Some("[[:poll]]".into()),
            Body::Poll { reads, .. } => Some(self.poll(reads)),
            Body::Crash => Some("nil".into()),
            _ => None,
        }
    }

    fn sends(&mut self, stage: Stage, sends: &[Send]) -> String {
        let sends = sends.iter().map(|send| {
            let key = self.key(&send.key);
            match (stage, send.offset) {
                (Stage::Invoke, _) => format!("[:send {key} {}]", send.value),
                (_, None) => format!("[:send {key} [nil {}]]", send.value),
                (_, Some(offset)) => format!("[:send {key} [{offset} {}]]", send.value),
            }
        });
        let sends: Vec<String> = sends.collect();
        format!("[{}]", sends.join(" "))
    }

    /// A map cannot name a key twice: answers of the same key are one list.
    fn poll(&mut self, reads: &[Read]) -> String {
        let mut by_key: BTreeMap<usize, String> = BTreeMap::new();
        for read in reads {
            let key = self.key(&read.key);
            let records = by_key.entry(key).or_default();
            for (offset, value) in &read.records {
                let space = if records.is_empty() { "" } else { " " };
                write!(records, "{space}[{offset} {value}]").expect("a string takes it");
            }
        }
        let entries = by_key
            .iter()
            .filter(|(_, records)| !records.is_empty())
            .map(|(key, records)| format!("{key} [{records}]"));
        let entries: Vec<String> = entries.collect();
        format!("[[:poll {{{}}}]]", entries.join(", "))
    }

    fn keys<'a>(&mut self, keys: impl IntoIterator<Item = &'a Key>) -> String {
        let keys: Vec<String> = keys
            .into_iter()
            .map(|key| self.key(key).to_string())
            .collect();
        format!("[{}]", keys.join(" "))
    }

    fn key(&mut self, key: &Key) -> usize {
        let next = self.keys.len();
        *self.keys.entry(*key).or_insert(next)
    }
}
