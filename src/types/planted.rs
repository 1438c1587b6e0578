//! Planted bugs: mutants that exist only in the simulation build, chosen at run time, one in a run.

/// Makes [`Plant`] from one line for each bug: its name, its row in the catalogue of historical bugs (or `own`), what is wrong.
macro_rules! plants {
    ($($(#[doc = $what:literal])+ $name:ident = $row:literal,)+) => {
        /// The names of the planted bugs.
        ///
        /// Outside simulation [`planted!`](crate::planted) is the constant `false`, so no trace of a mutant is in a shipped binary.
        #[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
        #[cfg_attr(madsim, derive(Debug))]
        #[non_exhaustive]
        pub enum Plant {
            $($(#[doc = $what])+ $name,)+
        }

        #[cfg(madsim)]
        impl Plant {
            /// Every planted bug.
            pub const ALL: &[Plant] = &[$(Plant::$name,)+];

            /// Its name, as on the command line.
            pub fn name(self) -> &'static str {
                match self {
                    $(Plant::$name => stringify!($name),)+
                }
            }

            /// The bug of this name.
            pub fn from_name(name: &str) -> Option<Plant> {
                Plant::ALL.iter().copied().find(|plant| plant.name() == name)
            }

            /// Its row in the catalogue of historical bugs, or `own`.
            pub fn row(self) -> &'static str {
                match self {
                    $(Plant::$name => $row,)+
                }
            }

            /// What is wrong, in a sentence.
            pub fn what(self) -> &'static str {
                match self {
                    $(Plant::$name => concat!($($what),+).trim_ascii(),)+
                }
            }
        }
    };
}

plants! {
    /// An epoch is said to end where the log ends, although later ones began before.
    EpochEndsWithLog = "own",
    /// A group of a journal is told durable without a sync.
    JournalNotSynced = "own",
    /// Half of a journal is filled anew before the segments of what it holds were synced.
    JournalRecycledUnsettled = "own",
    /// What a journal holds is not given to the logs that lack it.
    JournalNotReplayed = "own",
    /// What a journal holds counts as synced in its segment.
    JournalTakenForSegments = "own",
    /// An acknowledgement leaves before the flush that it waits for has ended.
    AckBeforeFlush = "83",
    /// Readers are shown records that are written and not flushed.
    ShownBeforeFlush = "own",
    /// A duplicate produce request is appended again instead of being answered with its first offset.
    DuplicateAppended = "19",
    /// Only the last batch of a producer is known as a duplicate, not the last five.
    WindowOfOne = "19",
    /// After a restart only the last batch of a producer's window is known.
    WindowNotRebuilt = "19",
    /// A duplicate is answered with an offset that is one too high.
    CachedOffsetWrong = "19",
    /// A duplicate is answered before the original is flushed.
    DuplicateBeforeFlush = "19",
    /// A successful send is acknowledged with offset 0.
    AckWrongOffset = "106",
    /// A sequence that wraps around after 2^31 - 1 is taken for out of order.
    SequenceWrap = "70",
    /// Producers are forgotten as soon as their records are deleted.
    ProducersDroppedWithRecords = "69",
    /// A producer snapshot holds batches beyond its offset.
    SnapshotBeyondOffset = "66",
    /// Producers are not rebuilt from the batches behind the snapshot.
    ProducersNotRebuilt = "67",
    /// Producers are rebuilt from the batch after the one at which they have to be.
    ProducersRebuiltTooLate = "67",
    /// A block of producer ids overlaps the next one by one.
    ProducerIdBlocksOverlap = "72",
    /// A failed write is taken for done.
    WriteErrorSwallowed = "15",
    /// A failed sync is tried again and believed.
    SyncErrorBelieved = "15",
    /// Offsets are used again after an index could not be written.
    IndexErrorReusesOffsets = "78",
    /// A new segment's name is not synced with its first records.
    DirectoryNotSynced = "own",
    /// A checkpoint takes its name before its content is synced.
    CheckpointNotSynced = "own",
    /// Recovery keeps a torn tail instead of cutting it.
    TornTailKept = "own",
    /// The proven offset passes the start of an epoch that is not written down.
    EpochsProvenUnwritten = "own",
    /// Damage below the proven offset is cut away instead of refused.
    DamageCutAway = "52",
    /// Recovery proves offsets that it has not flushed.
    RecoveryWithoutFlush = "79",
    /// Recovery syncs what the page cache shows after a failed sync, instead of writing it once more.
    RecoveryBelievesPageCache = "15",
    /// A stop after a disk error leaves the mark of a clean stop.
    CleanMarkAfterFailure = "81",
    /// The checkpoints of a deleted partition are believed of a new one with its name.
    CheckpointsOutliveTopic = "101",
    /// Retention deletes what the high watermark has not passed.
    RetentionAboveHighWatermark = "34",
    /// A start forgets the log start that was asked for, and begins with the first segment.
    LogStartMovesBack = "own",
    /// All records may be deleted, also those above the high watermark.
    DeletedAboveHighWatermark = "own",
    /// An index entry points behind its batch.
    IndexEntryBehindBatch = "own",
    /// A lookup by time passes over the segment that has the record.
    TimeLookupSkipsSegment = "own",
    /// A fetch that has waited reads up to the log's end.
    LongPollLosesBound = "85",
    /// An incremental fetch session forgets a partition that had no news.
    FetchSessionDropsPartition = "102",
    /// The metadata log commits before it is flushed.
    MetadataCommitBeforeFlush = "8",
    /// The metadata log is cut one record beyond its snapshot.
    MetadataCutBeyondSnapshot = "76",
    /// A coordinator that loads keeps the first value of a key.
    ReplayKeepsFirst = "18",
    /// Offsets of a group with members expire.
    OffsetsExpireWhileActive = "89",
    /// An offset is committed from an older generation.
    OldGenerationCommits = "90",
    /// A commit without a member is taken although the group has members.
    OutsiderCommits = "90",
    /// A commit is acknowledged before it is in the log.
    CommitAckedEarly = "own",
    /// A member that is missed in a rebalance leaves the group stuck: neither its deadline nor its session ends that.
    RebalanceStuck = "92",
    /// A loaded group begins again with an old generation.
    GenerationForgotten = "own",
    /// Committed offsets are found by a topic's name, and outlive it.
    OffsetsOutliveTopic = "101",
}

#[cfg(madsim)]
mod active {
    use super::Plant;
    use std::cell::Cell;

    thread_local! {
        static CHOSEN: Cell<Option<Plant>> = const { Cell::new(None) };
        static ACTIVATIONS: Cell<u64> = const { Cell::new(0) };
    }

    impl Plant {
        /// Chooses the mutant of this run, or none.
        pub fn choose(plant: Option<Plant>) {
            CHOSEN.set(plant);
            ACTIVATIONS.set(0);
        }

        /// Whether this mutant is chosen; counts no activation.
        pub fn is_chosen(self) -> bool {
            CHOSEN.get() == Some(self)
        }

        /// Whether this mutant is chosen; counts an activation if so.
        pub fn is_active(self) -> bool {
            let active = self.is_chosen();
            if active {
                ACTIVATIONS.set(ACTIVATIONS.get() + 1);
            }
            active
        }

        /// How often the chosen mutant acted in this run.
        pub fn activations() -> u64 {
            ACTIVATIONS.get()
        }
    }
}

/// Whether the named planted bug acts here: `planted!(AckBeforeFlush)`. Asked last, where it changes what happens: each
/// `true` is counted as an activation.
///
/// The constant `false` outside simulation.
#[macro_export]
macro_rules! planted {
    ($name:ident) => {{
        #[cfg(madsim)]
        let active = $crate::Plant::$name.is_active();
        #[cfg(not(madsim))]
        let active = false;
        active
    }};
}

/// Whether the named planted bug acts in this run: for an assertion that it would break before a checker sees it.
///
/// The constant `false` outside simulation.
#[macro_export]
macro_rules! plant_chosen {
    ($name:ident) => {{
        #[cfg(madsim)]
        let chosen = $crate::Plant::$name.is_chosen();
        #[cfg(not(madsim))]
        let chosen = false;
        chosen
    }};
}
