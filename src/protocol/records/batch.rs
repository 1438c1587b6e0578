//! A batch as a view over shared bytes, and a walk over many.

use super::header::batch_crc;
use super::scan::{self, RecordShape};
use super::{
    BATCH_HEADER_BYTES, BATCH_PREFIX_BYTES, BatchError, BatchHeader, DECOMPRESSED_BYTES_MAX,
    LOG_OVERHEAD_BYTES, Records, Scratch,
};
use bytes::Bytes;
use std::ops::ControlFlow;
use types::{LeaderEpoch, Offset};

/// One whole batch. Cloning shares the bytes.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Batch {
    header: BatchHeader,
    bytes: Bytes,
}

impl Batch {
    /// The batch at the start of `bytes`, which may go on behind it.
    ///
    /// Checks length and format only; see [`Self::verify_crc`] and [`BatchHeader::check`].
    ///
    /// # Errors
    /// As [`BatchHeader::parse`]; [`BatchError::Incomplete`] also if the records are not all there.
    pub fn parse(bytes: &Bytes) -> Result<Batch, BatchError> {
        let header = BatchHeader::parse(bytes)?;
        let size = header.size_bytes();
        if bytes.len() < size {
            return Err(BatchError::Incomplete {
                needed_bytes: size as u64,
                available_bytes: bytes.len() as u64,
            });
        }
        Ok(Batch {
            header,
            bytes: bytes.slice(..size),
        })
    }

    /// A batch of which the caller knows that `bytes` begin with `header` and end with its last record.
    pub(super) fn from_parts(header: BatchHeader, bytes: Bytes) -> Batch {
        debug_assert_eq!(
            header.size_bytes(),
            bytes.len(),
            "the header's length is that of the bytes"
        );
        Batch { header, bytes }
    }

    /// The header.
    pub fn header(&self) -> &BatchHeader {
        &self.header
    }

    /// The whole batch, header included.
    pub fn bytes(&self) -> &Bytes {
        &self.bytes
    }

    /// The whole batch, header included.
    pub fn into_bytes(self) -> Bytes {
        self.bytes
    }

    /// The records as they are stored, maybe compressed.
    pub fn record_bytes(&self) -> Bytes {
        self.bytes.slice(BATCH_HEADER_BYTES..)
    }

    /// Bytes of the whole batch.
    pub fn size_bytes(&self) -> usize {
        self.bytes.len()
    }

    /// Checks the checksum. This reads the whole batch.
    ///
    /// # Errors
    /// [`BatchError::ChecksumMismatch`].
    pub fn verify_crc(&self) -> Result<(), BatchError> {
        let computed = batch_crc(&self.bytes);
        if computed == self.header.crc {
            return Ok(());
        }
        Err(BatchError::ChecksumMismatch {
            stored: self.header.crc,
            computed,
        })
    }

    /// The records, decompressed as they are asked for, up to [`DECOMPRESSED_BYTES_MAX`]. Uncompressed records share
    /// this batch's bytes; compressed ones share the blocks they were decompressed into.
    ///
    /// After an error the iterator ends. It also checks that nothing is left after the last record.
    pub fn records(&self) -> Records {
        self.records_bounded(DECOMPRESSED_BYTES_MAX)
    }

    /// Like [`Self::records`], with another limit on the decompressed size in bytes.
    pub fn records_bounded(&self, decompressed_bytes_max: u64) -> Records {
        Records::new(self, decompressed_bytes_max)
    }

    /// Visits the shape of every record without building it: nothing is allocated per record, and of a compressed
    /// batch at most some 64 KiB are in memory at a time. `visit` may stop early, then the rest is not checked.
    ///
    /// # Errors
    /// Whatever is wrong with the records; [`BatchError::DecompressedTooLarge`] beyond `decompressed_bytes_max`.
    pub fn scan(
        &self,
        scratch: &mut Scratch,
        decompressed_bytes_max: u64,
        visit: impl FnMut(&RecordShape) -> ControlFlow<()>,
    ) -> Result<(), BatchError> {
        scan::scan(self, scratch, decompressed_bytes_max, None, visit)
    }

    /// This batch at another offset and leader epoch, as two chunks to be written one after the other: a new prefix
    /// of 16 bytes and the rest, shared.
    pub fn chunks_at(&self, base_offset: Offset, leader_epoch: LeaderEpoch) -> [Bytes; 2] {
        let prefix = self.header.prefix(base_offset, leader_epoch);
        [
            Bytes::copy_from_slice(&prefix),
            self.bytes.slice(BATCH_PREFIX_BYTES..),
        ]
    }
}

/// Walks the batches of `bytes`.
///
/// A batch that is cut off at the end comes as [`BatchError::Incomplete`], any other fault as its error; either is the
/// last item, and [`Batches::position`] then says where it begins.
pub fn batches(bytes: Bytes) -> Batches {
    Batches {
        rest: bytes,
        position: 0,
        ended: false,
    }
}

/// See [`batches`].
#[derive(Clone, Debug)]
pub struct Batches {
    rest: Bytes,
    position: u64,
    ended: bool,
}

impl Batches {
    /// Bytes before the next batch; after an error, bytes before the faulty one.
    pub fn position(&self) -> u64 {
        self.position
    }

    /// The bytes not yet walked.
    pub fn rest(&self) -> &Bytes {
        &self.rest
    }
}

impl Iterator for Batches {
    type Item = Result<Batch, BatchError>;

    fn next(&mut self) -> Option<Result<Batch, BatchError>> {
        if self.ended || self.rest.is_empty() {
            return None;
        }
        let batch = Batch::parse(&self.rest);
        match &batch {
            Ok(batch) => {
                let _walked = self.rest.split_to(batch.size_bytes());
                self.position += batch.size_bytes() as u64;
            }
            Err(_) => self.ended = true,
        }
        Some(batch)
    }
}

const _: () = assert!(BATCH_PREFIX_BYTES > LOG_OVERHEAD_BYTES);
