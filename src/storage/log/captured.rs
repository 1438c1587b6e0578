//! What a log has appended since its last flush was begun, kept for a journal.

use bytes::Bytes;
use types::Offset;

use crate::journal::ENTRY_BYTES_MAX;

/// The batches that were appended since the last flush was begun, as long as they are few.
#[derive(Debug)]
pub(super) struct Captured {
    /// Where the log ended when the last flush was begun.
    from: Offset,
    chunks: Vec<Bytes>,
    /// Bytes appended since then, be they kept or not.
    appended_bytes: u64,
    kept_bytes: u64,
}

impl Captured {
    pub fn new(from: Offset) -> Captured {
        Captured {
            from,
            chunks: Vec::new(),
            appended_bytes: 0,
            kept_bytes: 0,
        }
    }

    /// Takes what was appended: so many bytes, of which these were captured.
    pub fn add(&mut self, appended_bytes: u64, chunks: impl Iterator<Item = Bytes>) {
        self.appended_bytes += appended_bytes;
        if self.appended_bytes > ENTRY_BYTES_MAX {
            // Too many for a journal, and no reason to keep their memory.
            self.chunks = Vec::new();
            drop(chunks);
            return;
        }
        self.chunks
            .extend(chunks.inspect(|chunk| self.kept_bytes += chunk.len() as u64));
    }

    /// Keeps nothing of what comes before the next flush is begun.
    pub fn discard(&mut self) {
        self.chunks = Vec::new();
        self.appended_bytes = ENTRY_BYTES_MAX + 1;
    }

    /// Ends with a flush that reaches `end`: where the log ended before, and all that was appended since; nothing if
    /// there is nothing or not all of it is kept.
    pub fn take(&mut self, end: Offset) -> Option<(Offset, Vec<Bytes>)> {
        let captured = std::mem::replace(self, Captured::new(end));
        let is_whole =
            captured.kept_bytes == captured.appended_bytes && captured.appended_bytes > 0;
        is_whole.then_some((captured.from, captured.chunks))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chunk(length: usize) -> impl Iterator<Item = Bytes> {
        std::iter::once(Bytes::from(vec![1; length]))
    }

    #[test]
    fn only_all_that_was_appended_is_given() {
        let mut captured = Captured::new(5);
        assert_eq!(captured.take(7), None, "nothing was appended");
        captured.add(10, chunk(10));
        captured.add(3, chunk(3));
        let (from, chunks) = captured.take(9).expect("all was kept");
        assert_eq!((from, chunks.concat().len()), (7, 13));
        captured.add(4, std::iter::empty());
        captured.add(4, chunk(4));
        assert_eq!(captured.take(11), None, "the first was not captured");
        captured.add(ENTRY_BYTES_MAX, chunk(ENTRY_BYTES_MAX as usize));
        captured.add(1, chunk(1));
        assert_eq!(captured.take(13), None, "too much");
        captured.add(1, chunk(1));
        captured.discard();
        captured.add(1, chunk(1));
        assert_eq!(captured.take(15), None, "it was discarded");
        captured.add(1, chunk(1));
        assert_eq!(captured.take(17).map(|(from, _)| from), Some(15));
    }
}
