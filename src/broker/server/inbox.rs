//! Bytes received on a connection, cut into frames.

use bytes::{Buf, Bytes, BytesMut};

/// The first buffer of a connection that has something to say, in bytes.
const READ_BYTES_MIN: usize = 16 << 10;
/// The most that is read from a socket at a time, so that the bytes are still in the cache when they are checked.
const READ_BYTES_MAX: usize = 256 << 10;
/// Up to this size the buffer of a frame is reserved at once, but only for a client that has already sent as much as
/// [`READ_BYTES_MIN`] of it, or a whole frame of that size before: an announcement alone costs nothing. A larger
/// frame's buffer doubles.
const RESERVE_BYTES_MAX: usize = (1 << 20) + (64 << 10);

/// Why bytes on a connection are not frames.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum FrameError {
    /// The announced size is negative, or too small to hold a header.
    #[error("a frame announces {0} bytes")]
    Size(i32),
    /// The announced size is above `socket.request.max.bytes`.
    #[error("a frame announces {size} bytes, socket.request.max.bytes is {max}")]
    TooLarge {
        /// Announced.
        size: i32,
        /// Allowed.
        max: usize,
    },
}

/// Received bytes that are not yet a whole frame.
pub struct Inbox {
    buffer: BytesMut,
    frame_bytes_max: usize,
    /// Largest whole frame so far, as far as it matters for the next buffer, in bytes.
    frame_bytes_seen: usize,
}

impl Inbox {
    /// An empty inbox for frames of at most `frame_bytes_max` bytes.
    pub fn new(frame_bytes_max: usize) -> Inbox {
        Inbox {
            buffer: BytesMut::new(),
            frame_bytes_max,
            frame_bytes_seen: 0,
        }
    }

    /// Bytes that the buffer takes, filled or not.
    pub fn capacity_bytes(&self) -> usize {
        self.buffer.capacity()
    }

    /// Bytes held.
    pub fn len(&self) -> usize {
        self.buffer.len()
    }

    /// The buffer with room for the next read, and how much to read at most. Unless `may_be_large`, the room is small
    /// whatever was announced.
    pub fn buffer_for_read(&mut self, may_be_large: bool) -> (&mut BytesMut, usize) {
        let missing = self.missing_bytes();
        let spare = self.buffer.capacity() - self.buffer.len();
        if spare < missing.min(READ_BYTES_MIN / 2) || spare == 0 {
            let held = self.buffer.len();
            let expected = match may_be_large {
                false => 0,
                true if held >= READ_BYTES_MIN / 2 => held.max(RESERVE_BYTES_MAX),
                true => self.frame_bytes_seen,
            };
            self.buffer
                .reserve(missing.min(expected).max(READ_BYTES_MIN));
        }
        (&mut self.buffer, READ_BYTES_MAX)
    }

    /// Gives the memory back while nothing is held.
    pub fn release_if_empty(&mut self) {
        if self.buffer.is_empty() {
            self.buffer = BytesMut::new();
        }
    }

    /// The next whole frame without its length prefix, or none until more bytes arrive.
    pub fn next_frame(&mut self) -> Result<Option<Bytes>, FrameError> {
        let Some(size) = self.announced_bytes() else {
            return Ok(None);
        };
        if size < 8 {
            return Err(FrameError::Size(size));
        }
        if size as usize > self.frame_bytes_max {
            return Err(FrameError::TooLarge {
                size,
                max: self.frame_bytes_max,
            });
        }
        if self.buffer.len() < 4 + size as usize {
            return Ok(None);
        }
        let seen = (4 + size as usize).min(RESERVE_BYTES_MAX);
        self.frame_bytes_seen = self.frame_bytes_seen.max(seen);
        self.buffer.advance(4);
        Ok(Some(self.buffer.split_to(size as usize).freeze()))
    }

    fn announced_bytes(&self) -> Option<i32> {
        let prefix = self.buffer.get(..4)?;
        Some(i32::from_be_bytes(prefix.try_into().expect("four bytes")))
    }

    /// Bytes still missing of the frame that has begun.
    fn missing_bytes(&self) -> usize {
        match self.announced_bytes() {
            Some(size) if size > 0 => (4 + size as usize).saturating_sub(self.buffer.len()),
            _ => 0,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn feed(inbox: &mut Inbox, bytes: &[u8]) {
        let (buffer, _) = inbox.buffer_for_read(true);
        buffer.extend_from_slice(bytes);
    }

    #[test]
    fn frames_come_out_whole_however_they_arrive() {
        let mut inbox = Inbox::new(100);
        let wire = [
            0, 0, 0, 8, 1, 2, 3, 4, 5, 6, 7, 8, 0, 0, 0, 9, 1, 1, 1, 1, 1, 1, 1, 1, 1,
        ];
        let mut frames = Vec::new();
        for byte in wire {
            feed(&mut inbox, &[byte]);
            while let Some(frame) = inbox.next_frame().unwrap() {
                frames.push(frame);
            }
        }
        assert_eq!(frames, [&[1u8, 2, 3, 4, 5, 6, 7, 8][..], &[1; 9][..]]);
        assert_eq!(inbox.len(), 0);
    }

    #[test]
    fn bad_sizes_are_refused_before_anything_is_reserved() {
        for (wire, error) in [
            ([0, 0, 0, 7], FrameError::Size(7)),
            ([0xff, 0xff, 0xff, 0xff], FrameError::Size(-1)),
            (
                [0, 0, 0, 101],
                FrameError::TooLarge {
                    size: 101,
                    max: 100,
                },
            ),
        ] {
            let mut inbox = Inbox::new(100);
            feed(&mut inbox, &wire);
            assert_eq!(inbox.next_frame(), Err(error));
        }
    }

    #[test]
    fn an_announcement_alone_reserves_little() {
        let mut inbox = Inbox::new(100 << 20);
        feed(&mut inbox, &(100u32 << 20).to_be_bytes());
        inbox.buffer_for_read(true);
        assert!(inbox.capacity_bytes() <= 2 * READ_BYTES_MIN);
        // Who has sent something of it gets room for more, unless there is none.
        feed(&mut inbox, &[0; READ_BYTES_MIN]);
        inbox.buffer_for_read(false);
        assert!(inbox.capacity_bytes() <= 4 * READ_BYTES_MIN);
        for _ in 0..32 {
            feed(&mut inbox, &[0; READ_BYTES_MIN / 4]);
        }
        assert!(inbox.capacity_bytes() >= RESERVE_BYTES_MAX);
    }
}
