//! A stretch of a segment's file that a response will carry.

use std::io;
use std::sync::Arc;

use bytes::Bytes;
use runtime::disk::{Completion, File};

use crate::directory::LogDirectory;
use crate::segment::Segment;

/// Whole batches in the file of a segment. Its bytes stay as they are as long as the range is held, whatever happens
/// to the log meanwhile.
#[derive(Clone, Debug)]
pub struct FileRange {
    pub(crate) file: File,
    pub(crate) offset: u64,
    pub(crate) length_bytes: u32,
    pub(crate) directory: LogDirectory,
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

    /// Refuses a range whose log directory has failed: a failed sync may have dropped what it was to write, and then the
    /// file holds something else. To be asked after reading, before anything is sent.
    ///
    /// # Errors
    /// The failure.
    pub fn check(&self) -> io::Result<()> {
        self.directory.check().map_err(io::Error::other)
    }

    /// Begins to read the range into memory; fewer bytes than it has come only where the file is shorter than it was.
    pub fn begin_read(&self) -> Completion<Bytes> {
        self.file.read_at(self.offset, self.length_bytes as usize)
    }

    /// Reads the range into memory.
    ///
    /// # Errors
    /// What the system says, or that its log directory has failed; `UnexpectedEof` if the file is shorter than it was.
    pub async fn read(&self) -> io::Result<Bytes> {
        let bytes = self.begin_read().await?;
        self.check()?;
        if bytes.len() < self.length_bytes as usize {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        Ok(bytes)
    }
}
