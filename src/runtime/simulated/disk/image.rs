//! Sparse bytes: what a file holds, in the page cache or on the device.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;

/// Bytes of a page. Pages that nobody wrote are not there and read as zeros.
pub(super) const PAGE_BYTES: u64 = 4096;

type Page = [u8; PAGE_BYTES as usize];

/// A file's bytes. A copy shares the pages until one side writes to them.
#[derive(Clone, Default)]
pub(super) struct Image {
    pages: BTreeMap<u64, Arc<Page>>,
    length: u64,
}

fn page_of(offset: u64) -> u64 {
    offset / PAGE_BYTES
}

fn within(offset: u64) -> usize {
    (offset % PAGE_BYTES) as usize
}

/// The pages that `range` touches.
pub(super) fn pages_of(range: &Range<u64>) -> Range<u64> {
    if range.is_empty() {
        return 0..0;
    }
    page_of(range.start)..page_of(range.end - 1) + 1
}

impl Image {
    pub(super) fn length(&self) -> u64 {
        self.length
    }

    /// Writes, and makes the file as long as it takes.
    pub(super) fn write(&mut self, offset: u64, bytes: &[u8]) {
        let mut at = offset;
        let mut rest = bytes;
        while !rest.is_empty() {
            let start = within(at);
            let count = rest.len().min(PAGE_BYTES as usize - start);
            let (now, later) = rest.split_at(count);
            let page = self
                .pages
                .entry(page_of(at))
                .or_insert_with(|| Arc::new([0; PAGE_BYTES as usize]));
            Arc::make_mut(page)[start..start + count].copy_from_slice(now);
            at += count as u64;
            rest = later;
        }
        if !bytes.is_empty() {
            self.length = self.length.max(at);
        }
    }

    /// Cuts the file, or adds zeros.
    pub(super) fn set_length(&mut self, length: u64) {
        if length < self.length {
            drop(self.pages.split_off(&length.div_ceil(PAGE_BYTES)));
            if within(length) > 0
                && let Some(page) = self.pages.get_mut(&page_of(length))
            {
                Arc::make_mut(page)[within(length)..].fill(0);
            }
        }
        self.length = length;
    }

    /// Up to `length_bytes` bytes from `offset` on, as far as the file goes.
    pub(super) fn read(&self, offset: u64, length_bytes: usize) -> Bytes {
        let end = offset.saturating_add(length_bytes as u64).min(self.length);
        if offset >= end {
            return Bytes::new();
        }
        let mut bytes = Vec::with_capacity((end - offset) as usize);
        for (&number, page) in self.pages.range(pages_of(&(offset..end))) {
            let page_start = number * PAGE_BYTES;
            let from = page_start.max(offset);
            let to = (page_start + PAGE_BYTES).min(end);
            bytes.resize((from - offset) as usize, 0);
            let from_in_page = (from - page_start) as usize;
            let to_in_page = (to - page_start) as usize;
            bytes.extend_from_slice(&page[from_in_page..to_in_page]);
        }
        bytes.resize((end - offset) as usize, 0);
        Bytes::from(bytes)
    }

    /// Makes `range` what `other` has there, zeros where it has nothing. The length stays.
    pub(super) fn take_over(&mut self, range: Range<u64>, other: &Image) {
        let end = range.end.min(self.length);
        if range.start >= end {
            return;
        }
        let mut bytes = other
            .read(range.start, (end - range.start) as usize)
            .to_vec();
        bytes.resize((end - range.start) as usize, 0);
        self.write(range.start, &bytes);
    }

    /// Flips `bits` of the byte at `offset`; `false` if the file has no such byte.
    pub(super) fn flip(&mut self, offset: u64, bits: u8) -> bool {
        let Some(byte) = self.read(offset, 1).first().copied() else {
            return false;
        };
        self.write(offset, &[byte ^ bits]);
        true
    }

    /// How many of the pages `pages` are there.
    pub(super) fn present(&self, pages: Range<u64>) -> u64 {
        self.pages.range(pages).count() as u64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_was_written_and_zeros_between() {
        let mut image = Image::default();
        image.write(PAGE_BYTES - 2, b"abcd");
        image.write(10 * PAGE_BYTES, b"z");
        assert_eq!(image.length(), 10 * PAGE_BYTES + 1);
        assert_eq!(image.present(0..u64::MAX), 3);
        assert_eq!(image.read(PAGE_BYTES - 3, 6), b"\0abcd\0"[..]);
        let far = image.read(5 * PAGE_BYTES, usize::MAX);
        assert_eq!(far.len() as u64, 5 * PAGE_BYTES + 1);
        assert_eq!(far.last(), Some(&b'z'));
        assert!(far[..far.len() - 1].iter().all(|byte| *byte == 0));
    }

    #[test]
    fn what_was_cut_reads_as_zeros_afterwards() {
        let mut image = Image::default();
        image.write(0, &[7; 3 * PAGE_BYTES as usize]);
        let copy = image.clone();
        image.set_length(5);
        image.set_length(3 * PAGE_BYTES);
        assert_eq!(image.present(0..u64::MAX), 1);
        let whole = image.read(0, usize::MAX);
        assert_eq!(whole[..6], [7, 7, 7, 7, 7, 0]);
        assert!(whole[5..].iter().all(|byte| *byte == 0));
        assert!(copy.read(0, usize::MAX).iter().all(|byte| *byte == 7));
    }

    #[test]
    fn a_far_length_costs_nothing() {
        let mut image = Image::default();
        image.set_length(1 << 40);
        assert_eq!(image.read((1 << 40) - 2, 10), b"\0\0"[..]);
        assert_eq!(image.present(0..u64::MAX), 0);
    }

    #[test]
    fn bits_flip_where_there_are_bytes() {
        let mut image = Image::default();
        image.write(0, b"a");
        assert!(image.flip(0, 3));
        assert!(!image.flip(1, 3));
        assert_eq!(image.read(0, 9), b"b"[..]);
    }
}
