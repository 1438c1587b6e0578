//! What is no violation and worth a figure: H5, H17, H18, and what the clients did.

use super::index::{Indexed, KeyLog};
use crate::history::{Body, Index, Key, Process, Stage, Value};
use serde::Serialize;
use std::collections::BTreeMap;
use types::Offset;

/// Figures of a history.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize)]
pub struct Figures {
    /// Operations by kind and how they ended: `send ok`.
    pub operations: BTreeMap<String, u64>,
    /// Records acknowledged.
    pub records_acknowledged: u64,
    /// Records read by ok polls.
    pub records_read: u64,
    /// H5: polls that ended between two writes of one operation.
    pub intermediate_reads: u64,
    /// H17: polls and keys for which a lag could be told.
    pub lags: u64,
    /// H17: the median of the lags, in nanoseconds.
    pub lag_median_ns: u64,
    /// H17: the largest lag, in nanoseconds.
    pub lag_max_ns: u64,
    /// H18: how many pairs of process and value were consumed how often by ok polls while subscribed.
    pub consumed_times: BTreeMap<u64, u64>,
    /// Observations that a loss of power excused.
    pub excused: u64,
}

impl Figures {
    /// The figures of a history.
    pub fn of(indexed: &Indexed<'_>) -> Figures {
        let mut figures = Figures::default();
        for call in &indexed.calls {
            let stage = match indexed.stage(call) {
                Stage::Ok => "ok",
                Stage::Fail => "fail",
                Stage::Info | Stage::Invoke => "info",
            };
            let name = format!("{} {stage}", indexed.told(call).body.name());
            *figures.operations.entry(name).or_default() += 1;
        }
        for log in &indexed.logs {
            figures.count_records(log);
        }
        figures.lag(indexed);
        figures.consumption(indexed);
        figures.intermediate(indexed);
        figures
    }

    fn count_records(&mut self, log: &KeyLog) {
        let acknowledged = log.writes.iter().filter(|write| write.stage == Stage::Ok);
        self.records_acknowledged += acknowledged.count() as u64;
        let read = log.readings.iter().filter(|reading| reading.is_ok);
        self.records_read += read.count() as u64;
        let writes = log.writes.iter().filter(|write| write.is_excused).count();
        let reads = log.readings.iter().filter(|reading| reading.is_excused);
        self.excused += (writes + reads.count()) as u64;
    }

    /// H17: for each poll and key, how long before its start the next offset was known to exist.
    fn lag(&mut self, indexed: &Indexed<'_>) {
        let known: BTreeMap<Key, Vec<(Offset, Index)>> = indexed
            .logs
            .iter()
            .map(|log| (log.key, first_known(log)))
            .collect();
        let mut lags = Vec::new();
        let mut seen: BTreeMap<(Process, Key), Offset> = BTreeMap::new();
        for call in &indexed.calls {
            let operation = indexed.told(call);
            let Body::Poll { reads, .. } = &operation.body else {
                continue;
            };
            for read in reads {
                let Some(&(last, _)) = read.records.last() else {
                    continue;
                };
                let highest = seen.entry((operation.process, read.key)).or_insert(last);
                *highest = (*highest).max(last);
                let known = &known[&read.key];
                let at = known.partition_point(|(offset, _)| offset <= highest);
                let started = indexed.time(call.invoke);
                let since = known.get(at).map(|(_, index)| indexed.time(*index));
                lags.push(since.map_or(0, |since| started.saturating_sub(since)));
            }
        }
        lags.sort_unstable();
        self.lags = lags.len() as u64;
        self.lag_median_ns = lags.get(lags.len() / 2).copied().unwrap_or(0);
        self.lag_max_ns = lags.last().copied().unwrap_or(0);
    }

    /// H18.
    fn consumption(&mut self, indexed: &Indexed<'_>) {
        let mut subscribed: BTreeMap<Process, bool> = BTreeMap::new();
        let mut times: BTreeMap<(Process, Value), u64> = BTreeMap::new();
        for call in &indexed.calls {
            let operation = indexed.told(call);
            match &operation.body {
                Body::Subscribe { .. } => {
                    subscribed.insert(operation.process, true);
                }
                Body::Assign { .. } => {
                    subscribed.insert(operation.process, false);
                }
                Body::Poll { reads, .. }
                    if operation.stage == Stage::Ok
                        && subscribed.get(&operation.process) == Some(&true) =>
                {
                    for (_, value) in reads.iter().flat_map(|read| &read.records) {
                        *times.entry((operation.process, *value)).or_default() += 1;
                    }
                }
                _ => {}
            }
        }
        for times in times.into_values() {
            *self.consumed_times.entry(times).or_default() += 1;
        }
    }

    /// H5.
    fn intermediate(&mut self, indexed: &Indexed<'_>) {
        for call in &indexed.calls {
            let operation = indexed.told(call);
            let Body::Poll { reads, .. } = &operation.body else {
                continue;
            };
            for read in reads {
                let (Some(log), Some(&(last, value))) =
                    (indexed.log(&read.key), read.records.last())
                else {
                    continue;
                };
                let Some(write) = log.writers(value).first() else {
                    continue;
                };
                let Body::Send { sends, .. } = &indexed.operation(write.end).body else {
                    continue;
                };
                let is_between = sends.iter().any(|send| {
                    send.key == read.key && send.offset.is_some_and(|offset| offset > last)
                });
                self.intermediate_reads += u64::from(is_between);
            }
        }
    }
}

/// For each known offset, the first operation whose end proves that it, or a larger one, exists.
fn first_known(log: &KeyLog) -> Vec<(Offset, Index)> {
    let mut known: Vec<(Offset, Index)> = Vec::new();
    for seen in log.seen.iter().rev() {
        let sooner = known.last().map_or(Index::MAX, |last| last.1);
        let index = seen.operation.min(sooner);
        match known.last_mut() {
            Some(last) if last.0 == seen.offset => last.1 = index,
            _ => known.push((seen.offset, index)),
        }
    }
    known.reverse();
    known
}
