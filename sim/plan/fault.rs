//! Faults as data: what goes wrong, when, for how long.

use serde::{Deserialize, Serialize};

/// A fault at its time.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FaultPlan {
    /// When it begins.
    pub when: When,
    /// How long it lasts, in milliseconds; of what has no length (a step of a clock), nothing. A stopped node is
    /// started again after it.
    #[serde(default)]
    pub for_ms: u64,
    /// What goes wrong.
    pub fault: Fault,
}

/// When a fault begins.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum When {
    /// So many simulated milliseconds after the workload's beginning.
    AtMs(u64),
    /// At something that happens.
    Event(Event),
}

/// Something that happens, as the trace tells it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Event {
    /// The kind of the trace's event, such as `write` or `sync`.
    pub kind: String,
    /// The node by name, such as `broker-1`; any, if empty.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub node: String,
    /// A part of one of the event's texts (a path, a name), or `FIELD=VALUE`; any, if empty.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub contains: String,
    /// Which of them, from 1.
    #[serde(default = "one")]
    pub nth: u32,
    /// Only those after this millisecond of the workload.
    #[serde(default)]
    pub after_ms: u64,
    /// Only those before this millisecond of the workload; 0: at any time.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub before_ms: u64,
}

fn is_zero(number: &u64) -> bool {
    *number == 0
}

fn one() -> u32 {
    1
}

/// How a link is cut.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum CutHow {
    /// Bytes wait, and go on afterwards.
    Hold,
    /// Bytes are lost.
    BlackHole,
}

/// What a power loss leaves of what was not synced.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Survival {
    /// All of it.
    All,
    /// None of it.
    None,
    /// The first of each file's writes.
    Prefix,
    /// Parts of writes, by sectors.
    Torn,
    /// Any of the writes.
    Reordered,
    /// Each file as it comes.
    Mixed,
}

/// What goes wrong with operations on files.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum FileFault {
    /// A write fails (EIO).
    WriteError,
    /// A sync fails (EIO), and drops what it should have written.
    SyncError,
    /// The sync of a directory fails (EIO).
    DirectorySyncError,
    /// A read fails (EIO).
    ReadError,
    /// An open fails (EIO).
    OpenError,
    /// A rename fails (EIO).
    RenameError,
    /// A write finds no space, though there is some.
    NoSpace,
}

/// Operations on files that take long.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Stalled {
    /// The next ones, whichever these are: mostly reads and writes.
    #[default]
    Any,
    /// Syncs of files.
    Sync,
    /// Removals of files and of directories.
    Remove,
    /// Renames.
    Rename,
}

impl Stalled {
    fn is_any(&self) -> bool {
        *self == Stalled::Any
    }
}

/// What goes wrong. Nodes go by name: `broker-1`, `client-0`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case", deny_unknown_fields)]
pub enum Fault {
    /// The process is killed; its page cache stays.
    Kill {
        /// Which node.
        node: String,
    },
    /// The process is killed again and again, right after it has started.
    CrashLoop {
        /// Which node.
        node: String,
        /// How often.
        times: u32,
        /// How long it lives each time, in milliseconds.
        life_ms: u64,
    },
    /// The process is asked to end, and ends in order.
    CleanStop {
        /// Which node.
        node: String,
    },
    /// The machine loses power.
    PowerLoss {
        /// Which node.
        node: String,
        /// What is left of what was not synced.
        survival: Survival,
    },
    /// The machine loses power while it recovers from losing power.
    PowerLossInRecovery {
        /// Which node.
        node: String,
        /// What is left of what was not synced.
        survival: Survival,
        /// After how many of the recovering node's disk operations the second loss comes.
        operations: u32,
    },
    /// The process stands still.
    Pause {
        /// Which node.
        node: String,
    },
    /// The processor is slow.
    SlowProcessor {
        /// Which node.
        node: String,
        /// What each poll of a task takes, in microseconds.
        poll_us: u32,
    },
    /// Nothing gets from one node to the other.
    Cut {
        /// From this node, or `*`.
        from: String,
        /// To this node, or `*`.
        to: String,
        /// How.
        how: CutHow,
        /// Both ways.
        #[serde(default)]
        both: bool,
    },
    /// The link comes and goes.
    Flap {
        /// From this node.
        from: String,
        /// To this node.
        to: String,
        /// How long each state lasts, in milliseconds.
        every_ms: u64,
    },
    /// The link is slow.
    Delay {
        /// From this node, or `*`.
        from: String,
        /// To this node, or `*`.
        to: String,
        /// Added to every message, in microseconds.
        latency_us: u32,
        /// One in so many takes ten times as long; 0: none.
        tail_one_in: u32,
    },
    /// The link lets few bytes through.
    Narrow {
        /// From this node.
        from: String,
        /// To this node.
        to: String,
        /// Bytes a second.
        bytes_per_second: u64,
    },
    /// Connections are reset in the middle of what they carry.
    Reset {
        /// One end.
        a: String,
        /// The other.
        b: String,
    },
    /// A node reads slowly from another.
    SlowReader {
        /// Who reads.
        node: String,
        /// From whom.
        peer: String,
        /// Bytes a second.
        bytes_per_second: u64,
    },
    /// Operations on files fail.
    Disk {
        /// Which node.
        node: String,
        /// How.
        effect: FileFault,
        /// A part of the files' paths; any, if empty.
        path: String,
        /// Operations let by before the first that fails.
        skip: u32,
        /// How many fail.
        times: u32,
    },
    /// Operations on some files take long.
    Stall {
        /// Which node.
        node: String,
        /// A part of the files' paths; any, if empty.
        path: String,
        /// How long, in milliseconds.
        millis: u64,
        /// How many operations.
        times: u32,
        /// Which operations; the others go on.
        #[serde(default, skip_serializing_if = "Stalled::is_any")]
        operation: Stalled,
    },
    /// The disk has so many bytes left.
    DiskFull {
        /// Which node.
        node: String,
        /// How many.
        bytes_left: u64,
    },
    /// Bits of a file rot, below its log's proven offset.
    Rot {
        /// Which node.
        node: String,
        /// A part of the file's path.
        path: String,
        /// Where, in thousandths of what may rot.
        place: u16,
    },
    /// A batch below its log's proven offset turns out never to have been written, though its sync said so.
    LostWrite {
        /// Which node.
        node: String,
        /// A part of the file's path.
        path: String,
    },
    /// A batch below its log's proven offset turns out to have been written over the one before it; the first and the
    /// last proven one of a segment, never to have been written.
    MisdirectedWrite {
        /// Which node.
        node: String,
        /// A part of the file's path.
        path: String,
    },
    /// The wall clock steps.
    ClockStep {
        /// Which node.
        node: String,
        /// By how much, in milliseconds, back if negative.
        by_ms: i64,
    },
    /// The clocks run at another speed.
    ClockDrift {
        /// Which node.
        node: String,
        /// In parts per million.
        ppm: i32,
    },
}

impl Fault {
    /// The fault's name, as reports count it.
    pub fn name(&self) -> &'static str {
        match self {
            Fault::Kill { .. } => "kill",
            Fault::CrashLoop { .. } => "crash-loop",
            Fault::CleanStop { .. } => "clean-stop",
            Fault::PowerLoss { survival, .. } => match survival {
                Survival::All => "power-loss-all-survives",
                Survival::None => "power-loss-none-survives",
                Survival::Prefix => "power-loss-prefix",
                Survival::Torn => "power-loss-torn",
                Survival::Reordered => "power-loss-reordered",
                Survival::Mixed => "power-loss-mixed",
            },
            Fault::PowerLossInRecovery { .. } => "power-loss-in-recovery",
            Fault::Pause { .. } => "pause",
            Fault::SlowProcessor { .. } => "slow-processor",
            Fault::Cut { how, both, .. } => match (how, both) {
                (CutHow::Hold, true) => "cut-hold",
                (CutHow::Hold, false) => "cut-hold-one-way",
                (CutHow::BlackHole, true) => "cut-black-hole",
                (CutHow::BlackHole, false) => "cut-black-hole-one-way",
            },
            Fault::Flap { .. } => "flap",
            Fault::Delay { tail_one_in: 0, .. } => "delay",
            Fault::Delay { .. } => "heavy-tail",
            Fault::Narrow { .. } => "narrow",
            Fault::Reset { .. } => "reset",
            Fault::SlowReader { .. } => "slow-reader",
            Fault::Disk { effect, .. } => match effect {
                FileFault::WriteError => "write-error",
                FileFault::SyncError => "sync-error",
                FileFault::DirectorySyncError => "directory-sync-error",
                FileFault::ReadError => "read-error",
                FileFault::OpenError => "open-error",
                FileFault::RenameError => "rename-error",
                FileFault::NoSpace => "no-space",
            },
            Fault::Stall { .. } => "stall",
            Fault::DiskFull { .. } => "disk-full",
            Fault::Rot { .. } => "rot",
            Fault::LostWrite { .. } => "lost-write",
            Fault::MisdirectedWrite { .. } => "misdirected-write",
            Fault::ClockStep { by_ms, .. } if *by_ms < 0 => "clock-step-back",
            Fault::ClockStep { .. } => "clock-step-forward",
            Fault::ClockDrift { .. } => "clock-drift",
        }
    }
}
