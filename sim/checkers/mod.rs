//! Who judges a run.
//!
//! Checkers are pure: they are given what was seen and say what is wrong with it. They read no clock, draw nothing, and keep
//! nothing anywhere else, so a run is the same with and without them.
//!
//! * [`history`]: what clients saw, judged when the run is over. Knows nothing of a broker's inside.
//! * [`state`]: what a broker is, judged at every step.
//! * [`idle`]: what a broker is when nobody asks anything any more.

pub mod history;
pub mod idle;
pub mod state;

use serde::Serialize;
use std::collections::BTreeMap;
use std::fmt;

/// How many findings of one checker are told; the others are only counted.
pub const FINDINGS_MAX_PER_CHECKER: u64 = 64;

macro_rules! checkers {
    ($($name:ident $text:literal $meaning:literal;)*) => {
        /// A checker's name. H: what clients saw; S: what a broker is, after every step; L: what must come after healing.
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize)]
        #[non_exhaustive]
        pub enum CheckerId {
            $(#[doc = $meaning] $name,)*
        }

        impl CheckerId {
            /// Every checker, in order.
            pub const ALL: &'static [CheckerId] = &[$(CheckerId::$name,)*];

            /// The short name: `H1a`.
            pub const fn name(self) -> &'static str {
                match self { $(CheckerId::$name => $text,)* }
            }

            /// What it forbids or demands, in a few words.
            pub const fn meaning(self) -> &'static str {
                match self { $(CheckerId::$name => $meaning,)* }
            }
        }
    };
}

checkers! {
    H1a "H1a" "two polls saw different values at one offset";
    H1b "H1b" "an acknowledgement and a poll, or two acknowledgements, name different values at one offset";
    H2 "H2" "one value lies at two offsets";
    H3 "H3" "an acknowledged value below what was read was never read";
    H4 "H4" "a poll returned a value whose write failed for certain";
    H5 "H5" "a poll ended between two writes of one operation (only counted)";
    H6 "H6" "a cycle of writes alone";
    H7 "H7" "a cycle of reads of each other's writes";
    H8 "H8" "a transaction read what it had itself written";
    H9 "H9" "a poll left out a value between two others";
    H10 "H10" "a poll went back or repeated";
    H11 "H11" "a consumer left out a value between two polls";
    H12 "H12" "a consumer went back or repeated between two polls";
    H13 "H13" "other values lie between two sends of one operation (only counted)";
    H14 "H14" "two sends of one operation lie in the wrong order";
    H15 "H15" "a later send of one process lies before an earlier one";
    H16 "H16" "an acknowledged value was never read, even at the end";
    H17 "H17" "how far polls lag behind what is known to exist (only told)";
    H18 "H18" "how often values were consumed (only told)";
    H19 "H19" "a poll returned a value that nobody wrote";
    H20 "H20" "listed offsets went back, or contradict each other";
    H21 "H21" "committed offsets are no linearizable register";
    H22 "H22" "a transaction is visible in part";
    H23 "H23" "a write that failed for certain is readable";
    H24 "H24" "a pipeline lost or doubled an input";
    H25 "H25" "a compacted topic ends with another value of a key";
    H26 "H26" "a write lies before one that was acknowledged before it began";
    S7 "S7" "log start, high watermark and log end are in order, and the high watermark never goes back";
    S8 "S8" "nothing committed is truncated";
    S9 "S9" "offsets and leader epochs of a log grow without holes or repeats";
    S10 "S10" "what a consumer was shown stays as it was";
    S11 "S11" "an acknowledgement leaves only when its record is as safe as promised";
    S12 "S12" "no acknowledged record is lost";
    S13 "S13" "a restart keeps what was promised durable, and recovery is repeatable";
    S14 "S14" "sequences of a producer go on without holes or repeats";
    S16 "S16" "producer state is what the log says";
    S17 "S17" "a producer id is handed out once";
    S27 "S27" "a snapshot of the metadata is what its log says";
    S28 "S28" "a node's metadata is what the committed log says";
    S31 "S31" "the log start only grows, never above the high watermark";
    S32 "S32" "a group's committed offsets are what their log says";
    S33 "S33" "generations grow, no partition has two owners, old generations are refused";
    S34 "S34" "a coordinator serves only after it has loaded";
    S36 "S36" "a fetch returns what is below its bound, and says out of range only outside";
    S37 "S37" "listed offsets and the ends of epochs are what the log says";
    S38 "S38" "nothing of a deleted topic comes back";
    S39 "S39" "after a disk error nothing more is acknowledged; bad checksums are never served";
    S40 "S40" "the same seed gives the same trace";
    L4 "L4" "after healing, produce succeeds";
    L5 "L5" "after healing, consumers reach the end";
    L7 "L7" "after healing, groups become stable";
    L8 "L8" "after healing, every killed node serves again";
    L10 "L10" "nothing is left parked when all is idle";
    L11 "L11" "no node is busy when all is idle";
}

impl fmt::Display for CheckerId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// One thing that is wrong.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize)]
pub struct Finding {
    /// Who says so.
    pub checker: CheckerId,
    /// What it is about: a key and offset, a group. The same trouble has the same object in every run of a seed.
    pub object: String,
    /// What is wrong, for a person.
    pub message: String,
    /// The operations of the history, or the events of the run, that show it.
    pub operations: Vec<u32>,
    /// When it was seen, in simulated nanoseconds; nothing, if only the operations tell.
    pub at_nanos: Option<u64>,
}

/// What checkers found, and how much they looked at.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize)]
pub struct Report {
    /// What is wrong, sorted; at most [`FINDINGS_MAX_PER_CHECKER`] of each checker.
    pub findings: Vec<Finding>,
    /// Findings of each checker, all of them.
    pub found: BTreeMap<CheckerId, u64>,
    /// What would be wrong under a stronger configuration, and was permitted under this one.
    pub permitted: BTreeMap<CheckerId, u64>,
    /// Operations, pairs or events each checker looked at.
    pub work: BTreeMap<CheckerId, u64>,
    /// What a checker could not decide, with the reason: to be read as a weakness of the run.
    pub undecided: BTreeMap<&'static str, u64>,
}

impl Report {
    /// Whether nothing is wrong.
    pub fn is_green(&self) -> bool {
        self.found.is_empty()
    }

    /// A checker looked at `count` things.
    pub fn looked(&mut self, checker: CheckerId, count: u64) {
        *self.work.entry(checker).or_default() += count;
    }

    /// A checker saw what is permitted here.
    pub fn permit(&mut self, checker: CheckerId) {
        *self.permitted.entry(checker).or_default() += 1;
    }

    /// Something could not be decided.
    pub fn cannot_decide(&mut self, reason: &'static str) {
        *self.undecided.entry(reason).or_default() += 1;
    }

    /// A checker found something wrong.
    pub fn find(
        &mut self,
        checker: CheckerId,
        object: impl fmt::Display,
        message: String,
        operations: Vec<u32>,
    ) {
        let count = self.found.entry(checker).or_default();
        *count += 1;
        if *count <= FINDINGS_MAX_PER_CHECKER {
            self.findings.push(Finding {
                checker,
                object: object.to_string(),
                message,
                operations,
                at_nanos: None,
            });
        }
    }

    /// A checker found something wrong at this moment, in simulated nanoseconds.
    pub fn find_at(
        &mut self,
        at_nanos: u64,
        checker: CheckerId,
        object: impl fmt::Display,
        message: String,
        events: Vec<u32>,
    ) {
        let told = self.findings.len();
        self.find(checker, object, message, events);
        if let Some(finding) = self.findings.get_mut(told) {
            finding.at_nanos = Some(at_nanos);
        }
    }

    /// Puts the findings in order.
    pub fn sort(&mut self) {
        self.findings.sort();
    }
}
