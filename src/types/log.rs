//! The offsets of a log, as a machine knows them that appends to it and is told what became of that.

use crate::Offset;

/// The offsets of one log: `start <= written <= assigned`, `flushed <= written`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct LogOffsets {
    /// The first offset that may be read.
    pub start: Offset,
    /// The end of what the driver has reported as appended.
    pub written: Offset,
    /// The end of what has an offset.
    pub assigned: Offset,
    /// The end of what is flushed.
    pub flushed: Offset,
    /// Bumped by the log whenever it is cut back; a flush report of another one raises nothing.
    pub generation: u64,
}

impl LogOffsets {
    /// A log that recovery has opened: nothing is under way, and what lies below the start needs no flush.
    ///
    /// # Panics
    /// If the offsets cannot be those of a log.
    pub fn recovered(start: Offset, end: Offset, flushed: Offset, generation: u64) -> LogOffsets {
        assert!(0 <= start && start <= end, "the log is {start}..{end}");
        assert!(flushed <= end, "flushed to {flushed} in a log to {end}");
        LogOffsets {
            start,
            written: end,
            assigned: end,
            flushed: flushed.max(start),
            generation,
        }
    }

    /// Appends are written up to `end`.
    ///
    /// # Panics
    /// If that was not asked for.
    pub fn appended(&mut self, end: Offset) {
        assert!(
            self.written <= end && end <= self.assigned,
            "appended to {end}, expected {} to {}",
            self.written,
            self.assigned
        );
        self.written = end;
    }

    /// Appends from `from` on failed, and the log was cut back there. The caller takes back what has offsets above and
    /// sets `assigned`.
    ///
    /// # Panics
    /// If it is not the log's end, or the generation goes back.
    pub fn append_failed(&mut self, from: Offset, generation: u64) {
        assert_eq!(
            from, self.written,
            "an append failed that is not the one after the log's end"
        );
        assert!(
            generation >= self.generation,
            "the truncation generation went back"
        );
        self.generation = generation;
    }

    /// The log is flushed up to `end`. Says whether the report is of this generation; an older one raises nothing.
    ///
    /// # Panics
    /// If more was flushed than is written, or the generation is yet to come.
    pub fn flushed(&mut self, end: Offset, generation: u64) -> bool {
        if generation != self.generation {
            assert!(
                generation < self.generation,
                "a flush of a generation yet to come"
            );
            return false;
        }
        assert!(
            end <= self.written,
            "flushed to {end} in a log written to {}",
            self.written
        );
        self.flushed = self.flushed.max(end);
        true
    }

    /// The log's start has moved up.
    ///
    /// # Panics
    /// If it went back.
    pub fn start_moved(&mut self, start: Offset) {
        assert!(start >= self.start, "the log's start went back to {start}");
        self.start = start;
    }

    /// Panics if the offsets contradict each other.
    pub fn check(&self) {
        assert!(
            self.flushed <= self.written && self.written <= self.assigned,
            "ends out of order: {self:?}"
        );
        assert!(
            self.start <= self.written,
            "the log starts above its end: {self:?}"
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flush_of_an_older_generation_raises_nothing() {
        let mut log = LogOffsets::recovered(3, 10, 0, 1);
        assert_eq!((log.flushed, log.assigned), (3, 10));
        log.assigned = 20;
        log.appended(15);
        assert!(log.flushed(12, 1));
        log.append_failed(15, 2);
        log.assigned = 15;
        assert!(!log.flushed(15, 1));
        assert_eq!(log.flushed, 12);
        // Flushes may end in another order than they began.
        assert!(log.flushed(15, 2) && log.flushed(13, 2));
        log.start_moved(4);
        log.check();
        let expected = LogOffsets {
            start: 4,
            written: 15,
            assigned: 15,
            flushed: 15,
            generation: 2,
        };
        assert_eq!(log, expected);
    }

    #[test]
    #[should_panic(expected = "appended to 21, expected 10 to 20")]
    fn more_cannot_be_written_than_has_an_offset() {
        let mut log = LogOffsets::recovered(0, 10, 10, 1);
        log.assigned = 20;
        log.appended(21);
    }
}
