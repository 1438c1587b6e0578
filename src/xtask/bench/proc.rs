//! What the kernel tells of the machine: all processes, processors, memory and disks.

use super::result::Noise;
use crate::proc::{read, size_of};
use anyhow::{Context, Result};
use std::collections::BTreeMap;
use std::path::Path;
use std::time::Instant;

/// Ticks a second of the times in `/proc`: `USER_HZ` of every Linux that this runs on.
const TICKS_PER_SECOND: f64 = 100.0;

/// Times of a process from `/proc/PID/stat`.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct ProcessTimes {
    /// Its own, threads that have ended included, in ticks.
    pub own: u64,
    /// Of its children that were waited for, in ticks.
    pub children: u64,
    /// Whether it has memory of its own; a kernel thread has none.
    pub is_user: bool,
}

/// Reads `/proc/PID/stat`. The name in parentheses may hold anything.
pub fn process_times(text: &str) -> Option<ProcessTimes> {
    let (_, rest) = text.rsplit_once(')')?;
    let fields: Vec<&str> = rest.split_whitespace().collect();
    let number = |index: usize| fields.get(index)?.parse::<u64>().ok();
    Some(ProcessTimes {
        own: number(11)? + number(12)?,
        children: number(13)? + number(14)?,
        is_user: number(20)? > 0,
    })
}

/// Times of all processors together from `/proc/stat`, in ticks.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct HostTimes {
    pub total: u64,
    pub busy: u64,
    pub steal: u64,
}

/// Reads the first line of `/proc/stat`.
pub fn host_times(text: &str) -> Option<HostTimes> {
    let line = text.lines().find(|line| line.starts_with("cpu "))?;
    let ticks: Vec<u64> = line
        .split_whitespace()
        .skip(1)
        .map_while(|field| field.parse().ok())
        .take(8)
        .collect();
    let [user, nice, system, idle, waiting, interrupt, soft, steal] = ticks[..] else {
        return None;
    };
    let busy = user + nice + system + interrupt + soft;
    Some(HostTimes {
        total: busy + idle + waiting + steal,
        busy,
        steal,
    })
}

/// Flushes that a disk has completed, from `/proc/diskstats`.
pub fn flushes(text: &str, device: &str) -> Option<u64> {
    let line = text
        .lines()
        .find(|line| line.split_whitespace().nth(2) == Some(device))?;
    line.split_whitespace().nth(18)?.parse().ok()
}

/// A size of `/proc/meminfo`, in bytes.
pub fn memory(name: &str) -> Result<u64> {
    size_of(&read("/proc/meminfo")?, name).with_context(|| name.to_owned())
}

/// The load average of one minute.
pub fn load_average() -> Result<f64> {
    let text = read("/proc/loadavg")?;
    Ok(text.split_whitespace().next().context("a load")?.parse()?)
}

/// Times of all processors together now.
pub fn host_now() -> Result<HostTimes> {
    host_times(&read("/proc/stat")?).context("/proc/stat")
}

/// The name under which `/proc/diskstats` counts the disk below a folder.
pub fn device_of(folder: &Path) -> Result<String> {
    let output = std::process::Command::new("df")
        .args(["--output=source"])
        .arg(folder)
        .output()?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let source = text.lines().last().context("df names a device")?;
    let name = source
        .trim()
        .rsplit('/')
        .next()
        .unwrap_or(source)
        .to_owned();
    let class = Path::new("/sys/class/block").join(&name);
    // Flushes are counted by the whole disk, not by its parts.
    if class.join("partition").exists()
        && let Some(disk) = std::fs::canonicalize(&class)?.parent()
        && let Some(disk) = disk.file_name()
    {
        return Ok(disk.to_string_lossy().into_owned());
    }
    Ok(name)
}

/// Everything that is counted, at one moment.
pub struct Snapshot {
    at: Instant,
    broker: u64,
    clients: u64,
    others: BTreeMap<u32, u64>,
    host: HostTimes,
    flushes: u64,
}

/// What was used between two snapshots.
#[derive(Clone, Copy, Debug, Default)]
pub struct Spent {
    /// Wall-clock time.
    pub seconds: f64,
    /// The broker's CPU time.
    pub broker_cpu_seconds: f64,
    /// CPU time of the clients that ended meanwhile.
    pub client_cpu_seconds: f64,
    /// CPU time of other processes that were there at both moments.
    pub others_cpu_seconds: f64,
    /// CPU time that belongs to no process of the three kinds.
    pub kernel_cpu_seconds: f64,
    /// Percent of all processors' time.
    pub steal_percent: f64,
    /// Flushes of the disk.
    pub flushes: f64,
}

impl Spent {
    /// What it says about noise, with what was seen before the run.
    pub fn noise(&self, before: Noise) -> Noise {
        let seconds = self.seconds.max(1e-9);
        Noise {
            steal_percent: self.steal_percent,
            others: self.others_cpu_seconds / seconds,
            kernel: self.kernel_cpu_seconds / seconds,
            ..before
        }
    }
}

impl Snapshot {
    /// Counts now.
    pub fn take(broker: u32, device: &str) -> Result<Snapshot> {
        let mut own = ProcessTimes::default();
        let mut others = BTreeMap::new();
        let me = std::process::id();
        let mut broker_ticks = 0;
        for entry in std::fs::read_dir("/proc")? {
            let name = entry?.file_name();
            let Some(pid) = name.to_str().and_then(|name| name.parse::<u32>().ok()) else {
                continue;
            };
            // A process may end between being listed and being read.
            let Ok(text) = std::fs::read_to_string(format!("/proc/{pid}/stat")) else {
                continue;
            };
            let Some(times) = process_times(&text) else {
                continue;
            };
            if pid == broker {
                broker_ticks = times.own;
            } else if pid == me {
                own = times;
            } else if times.is_user {
                others.insert(pid, times.own);
            }
        }
        Ok(Snapshot {
            at: Instant::now(),
            broker: broker_ticks,
            clients: own.children,
            others,
            host: host_now()?,
            flushes: flushes(&read("/proc/diskstats")?, device).unwrap_or(0),
        })
    }

    /// What was used since an earlier snapshot.
    pub fn since(&self, earlier: &Snapshot) -> Spent {
        let seconds = |ticks: u64| ticks as f64 / TICKS_PER_SECOND;
        let others: u64 = self
            .others
            .iter()
            .filter_map(|(pid, now)| Some(now.saturating_sub(*earlier.others.get(pid)?)))
            .sum();
        let total = self.host.total.saturating_sub(earlier.host.total);
        let busy = seconds(self.host.busy.saturating_sub(earlier.host.busy));
        let broker = seconds(self.broker.saturating_sub(earlier.broker));
        let clients = seconds(self.clients.saturating_sub(earlier.clients));
        let steal = self.host.steal.saturating_sub(earlier.host.steal);
        Spent {
            seconds: self.at.duration_since(earlier.at).as_secs_f64(),
            broker_cpu_seconds: broker,
            client_cpu_seconds: clients,
            others_cpu_seconds: seconds(others),
            kernel_cpu_seconds: (busy - broker - clients - seconds(others)).max(0.0),
            steal_percent: steal as f64 / total.max(1) as f64 * 100.0,
            flushes: self.flushes.saturating_sub(earlier.flushes) as f64,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_may_have_any_name() {
        let text = "5561 (c) at (x) R 5555 5555 27240 0 -1 4194304 98 0 0 0 7 2 30 1 20 0 1 0 5075098 3133440 394 1844";
        let times = process_times(text).expect("a line of the kernel");
        let wanted = ProcessTimes {
            own: 9,
            children: 31,
            is_user: true,
        };
        assert_eq!(times, wanted);
        let kernel = "2 (kthreadd) S 0 0 0 0 -1 2129984 0 0 0 0 0 34 0 0 20 0 1 0 3 0 0 184";
        assert!(!process_times(kernel).expect("a line").is_user);
        assert_eq!(process_times("5561 (cat) R 1"), None);
    }

    #[test]
    fn processors_are_busy_idle_or_stolen() {
        let text = "cpu  100 5 50 1000 40 3 2 10 0 0\ncpu0 1 1 1 1 1 1 1 1 0 0\n";
        let wanted = HostTimes {
            total: 1210,
            busy: 160,
            steal: 10,
        };
        assert_eq!(host_times(text), Some(wanted));
        assert_eq!(host_times("cpu  1 2 3\n"), None);
    }

    #[test]
    fn flushes_are_the_sixteenth_count() {
        let text = "   7 0 loop0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0\n 254 0 vda 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17\n";
        assert_eq!(flushes(text, "vda"), Some(16));
        assert_eq!(flushes(text, "loop0"), Some(0));
        assert_eq!(flushes(text, "sda"), None);
    }

    #[test]
    fn what_belongs_to_nobody_is_the_kernels() {
        let host = |busy, steal, total| HostTimes { total, busy, steal };
        let at = Instant::now();
        let earlier = Snapshot {
            at,
            broker: 100,
            clients: 10,
            others: BTreeMap::from([(7, 50), (8, 1)]),
            host: host(1_000, 0, 5_000),
            flushes: 3,
        };
        let later = Snapshot {
            at: at + std::time::Duration::from_secs(2),
            broker: 200,
            clients: 60,
            others: BTreeMap::from([(7, 60), (9, 500)]),
            host: host(1_200, 4, 5_400),
            flushes: 10,
        };
        let spent = later.since(&earlier);
        assert_eq!(spent.broker_cpu_seconds, 1.0);
        assert_eq!(spent.client_cpu_seconds, 0.5);
        assert_eq!(spent.others_cpu_seconds, 0.1);
        assert!((spent.kernel_cpu_seconds - 0.4).abs() < 1e-9);
        assert_eq!((spent.steal_percent, spent.flushes), (1.0, 7.0));
        let noise = spent.noise(Noise::default());
        assert!((noise.others - 0.05).abs() < 1e-9);
    }
}
