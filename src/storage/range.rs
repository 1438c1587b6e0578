//! A stretch of a segment's file that a response will carry.

use std::io;
use std::sync::Arc;

use bytes::Bytes;
use runtime::disk::{Completion, File};

use crate::segment::Segment;

/// Whole batches in the file of a segment. Its bytes stay as they are as long as the range is held, whatever happens
/// to the log meanwhile.
#[derive(Clone, Debug)]
pub struct FileRange {
    pub(crate) file: File,
    pub(crate) offset: u64,
    pub(crate) length_bytes: u32,
    /// Holding the segment keeps truncation from shortening the file.
    pub(crate) _segment: Arc<Segment>,
}

impl FileRange {
    /// The open file.
    pub fn file(&self) -> &File {
        &self.file
    }

    /// Where in the file the range begins, in bytes.
    pub fn offset(&self) -> u64 {
        self.offset
    }

    /// Its length in bytes.
    pub fn length_bytes(&self) -> u32 {
        self.length_bytes
    }

    /// Begins to read the range into memory; fewer bytes than it has come only where the file is shorter than it was.
    pub fn begin_read(&self) -> Completion<Bytes> {
        self.file.read_at(self.offset, self.length_bytes as usize)
    }

    /// Reads the range into memory.
    ///
    /// # Errors
    /// What the system says; `UnexpectedEof` if the file is shorter than it was.
    pub async fn read(&self) -> io::Result<Bytes> {
        let bytes = self.begin_read().await?;
        if bytes.len() < self.length_bytes as usize {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        Ok(bytes)
    }
}
