//! Bytes received on a connection, cut into frames.
//!
//! A frame is handed out as it was received, in one piece of memory, down to the file that its records are written to.
//! So the buffer of a frame must have its size before most of it is read, while its memory must grow with what was
//! received and not with what was announced. The way out: a little of it is read into a small buffer, and that head is
//! the only part that is copied.

use bytes::{Buf, Bytes, BytesMut};

/// The first buffer of a connection that has something to say, and what is copied at most of a frame up to
/// [`FRAME_BYTES_TRUSTED`], in bytes.
const HEAD_BYTES: usize = 4 << 10;
/// The buffer of a connection that sends many small frames at a time, in bytes.
const FRESH_BYTES_MAX: usize = 16 << 10;
/// The most that is read from a socket at a time, so that the bytes are still in the cache when they are checked.
const READ_BYTES_MAX: usize = 256 << 10;
/// A frame up to this size gets its whole buffer once [`HEAD_BYTES`] of it are there, in bytes.
const FRAME_BYTES_TRUSTED: usize = (1 << 20) + (64 << 10);
/// The buffer of a larger frame is at most so many times as large as what was received of it, so that a sixteenth of
/// the frame is what is copied of it.
const GROWTH: usize = 16;
/// Sizes of buffers are multiples of this, and one that is made for a frame is longer than it, at most by so much: a
/// read that leaves room has emptied the socket, and nobody needs to ask it again. In bytes.
const ROUND_BYTES: usize = 1 << 10;

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
    /// Size of the next buffer in which nothing is yet, by what was received before, in bytes.
    fresh_bytes: usize,
}

impl Inbox {
    /// An empty inbox for frames of at most `frame_bytes_max` bytes.
    pub fn new(frame_bytes_max: usize) -> Inbox {
        Inbox {
            buffer: BytesMut::new(),
            frame_bytes_max,
            fresh_bytes: HEAD_BYTES,
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

    /// Whether nothing is held.
    pub fn is_empty(&self) -> bool {
        self.buffer.is_empty()
    }

    /// The buffer with room for the next read, and how much to read at most. Unless `may_be_large`, the room is small
    /// whatever was announced.
    pub fn buffer_for_read(&mut self, may_be_large: bool) -> (&mut BytesMut, usize) {
        let held = self.buffer.len();
        let spare = self.buffer.capacity() - held;
        let missing = self.missing_bytes();
        let mut read_bytes_max = READ_BYTES_MAX;
        if missing == 0 {
            if spare < ROUND_BYTES {
                self.replace(self.fresh_bytes.max(held + ROUND_BYTES));
            }
        } else if spare < missing {
            let size_bytes = match may_be_large {
                true => self.size_for(held + missing),
                false => self.size_for(held + missing).min(FRESH_BYTES_MAX),
            };
            let is_head = held < HEAD_BYTES && size_bytes == HEAD_BYTES;
            // Where the whole frame will fit, it moves now: there is as little to copy as there will ever be.
            let moves = match is_head {
                true => self.buffer.capacity() < HEAD_BYTES,
                false => spare == 0 || size_bytes >= held + missing,
            };
            if moves {
                self.replace(size_bytes.max(held + ROUND_BYTES));
            }
            if is_head {
                read_bytes_max = HEAD_BYTES - held;
            }
        }
        (&mut self.buffer, read_bytes_max)
    }

    /// How large the buffer shall be for what is held of a frame of `frame` bytes that does not fit, in bytes.
    fn size_for(&self, frame: usize) -> usize {
        let held = self.buffer.len();
        if frame <= self.fresh_bytes {
            self.fresh_bytes
        } else if held < HEAD_BYTES {
            HEAD_BYTES
        } else if frame <= FRAME_BYTES_TRUSTED || held >= frame / GROWTH {
            with_slack(frame)
        } else {
            (frame / GROWTH).min(FRAME_BYTES_TRUSTED.max(held * GROWTH))
        }
    }

    /// Moves what is held, the head of a frame, to a buffer of `size_bytes`.
    fn replace(&mut self, size_bytes: usize) {
        let mut buffer = BytesMut::with_capacity(size_bytes);
        buffer.extend_from_slice(&self.buffer);
        self.buffer = buffer;
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
        let frame = 4 + size as usize;
        if self.buffer.len() < frame {
            return Ok(None);
        }
        self.expect_more_like(frame);
        self.buffer.advance(4);
        Ok(Some(self.buffer.split_to(size as usize).freeze()))
    }

    /// Learns from a whole frame how large the next buffer is to be, so that frames of one size are read one at a
    /// time, and small ones many at a time.
    fn expect_more_like(&mut self, frame: usize) {
        let is_full = self.buffer.len() == self.buffer.capacity();
        if frame > FRESH_BYTES_MAX {
            self.fresh_bytes = HEAD_BYTES;
        } else if frame > HEAD_BYTES {
            self.fresh_bytes = with_slack(frame);
        } else if is_full {
            self.fresh_bytes = FRESH_BYTES_MAX;
        }
    }

    fn announced_bytes(&self) -> Option<i32> {
        let prefix = self.buffer.get(..4)?;
        Some(i32::from_be_bytes(prefix.try_into().expect("four bytes")))
    }

    /// Bytes still missing of the frame that has begun, 0 if its size is not yet known.
    fn missing_bytes(&self) -> usize {
        match self.announced_bytes() {
            Some(size) if size > 0 => (4 + size as usize).saturating_sub(self.buffer.len()),
            _ => 0,
        }
    }
}

fn with_slack(frame: usize) -> usize {
    (frame + 1).next_multiple_of(ROUND_BYTES)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Receives `bytes`, in reads as large as the inbox asks for; gives the largest buffer there was.
    fn feed(inbox: &mut Inbox, mut bytes: &[u8]) -> usize {
        let mut largest = inbox.capacity_bytes();
        while !bytes.is_empty() {
            let (buffer, read_bytes_max) = inbox.buffer_for_read(true);
            let room = (buffer.capacity() - buffer.len()).min(read_bytes_max);
            assert!(room > 0, "there is always room to read");
            let (now, later) = bytes.split_at(room.min(bytes.len()));
            buffer.extend_from_slice(now);
            bytes = later;
            largest = largest.max(inbox.capacity_bytes());
        }
        largest
    }

    fn frame(size: usize) -> Vec<u8> {
        let mut wire = (size as u32).to_be_bytes().to_vec();
        wire.extend((0..size).map(|at| (at % 251) as u8));
        wire
    }

    #[test]
    fn frames_come_out_whole_however_they_arrive() {
        let sizes = [
            8, 9, 300, 4091, 4092, 4093, 9_000, 16_380, 16_381, 70_000, 40,
        ];
        let wire: Vec<u8> = sizes.iter().flat_map(|&size| frame(size)).collect();
        for step in [1, 3, 1000, 4096, 5000, wire.len()] {
            let mut inbox = Inbox::new(100_000);
            let mut frames = Vec::new();
            for part in wire.chunks(step) {
                feed(&mut inbox, part);
                while let Some(frame) = inbox.next_frame().unwrap() {
                    frames.push(frame);
                }
            }
            assert_eq!(inbox.len(), 0);
            let expected: Vec<Vec<u8>> = sizes
                .iter()
                .map(|&size| frame(size)[4..].to_vec())
                .collect();
            assert_eq!(frames, expected, "in steps of {step}");
        }
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
    fn memory_grows_with_what_was_received() {
        let mut inbox = Inbox::new(100 << 20);
        feed(&mut inbox, &(100_u32 << 20).to_be_bytes());
        inbox.buffer_for_read(true);
        assert_eq!(inbox.capacity_bytes(), HEAD_BYTES);
        for received in [HEAD_BYTES, 1 << 18, 1 << 20, 1 << 21, 1 << 22, 1 << 23] {
            let more = vec![0; received - inbox.len()];
            feed(&mut inbox, &more);
            inbox.buffer_for_read(true);
            let allowed = FRAME_BYTES_TRUSTED.max(GROWTH * received) + ROUND_BYTES;
            let capacity = inbox.capacity_bytes();
            assert!(capacity <= allowed, "{capacity} for {received} received");
        }
    }

    #[test]
    fn without_room_in_the_budget_little_is_reserved() {
        let mut inbox = Inbox::new(100 << 20);
        feed(&mut inbox, &frame(1 << 20)[..HEAD_BYTES]);
        while inbox.len() < FRESH_BYTES_MAX {
            let (buffer, _) = inbox.buffer_for_read(false);
            buffer.extend_from_slice(&[0; 1000][..(buffer.capacity() - buffer.len()).min(1000)]);
            assert!(inbox.capacity_bytes() <= FRESH_BYTES_MAX);
        }
    }

    /// How many bytes of a frame are copied to another buffer until it is whole.
    fn copied_bytes(inbox: &mut Inbox, wire: &[u8]) -> usize {
        let mut copied = 0;
        for part in wire.chunks(1448) {
            let mut part = part;
            while !part.is_empty() {
                let (held, before) = (inbox.len(), inbox.capacity_bytes());
                let (buffer, read_bytes_max) = inbox.buffer_for_read(true);
                let room = (buffer.capacity() - held).min(read_bytes_max);
                if buffer.capacity() != before {
                    copied += held;
                }
                let (now, later) = part.split_at(room.min(part.len()));
                buffer.extend_from_slice(now);
                part = later;
            }
        }
        inbox.next_frame().unwrap().expect("it is whole");
        inbox.release_if_empty();
        copied
    }

    #[test]
    fn only_a_small_head_of_a_frame_is_copied() {
        for (size, allowed) in [
            (200, 0),
            (4_000, 0),
            (10_000, HEAD_BYTES),
            (21_000, HEAD_BYTES),
            (1 << 20, HEAD_BYTES),
            (10 << 20, HEAD_BYTES + (10 << 20) / GROWTH),
            (90 << 20, (90 << 20) / 5),
        ] {
            let mut inbox = Inbox::new(100 << 20);
            for round in 0..3 {
                let copied = copied_bytes(&mut inbox, &frame(size));
                assert!(copied <= allowed, "{copied} of {size} in round {round}");
            }
        }
    }

    #[test]
    fn many_small_frames_are_read_at_a_time() {
        let mut inbox = Inbox::new(100 << 20);
        let wire: Vec<u8> = (0..32).flat_map(|_| frame(290)).collect();
        for round in 0..3 {
            let mut reads = 0;
            let mut rest = &wire[..];
            while !rest.is_empty() {
                let (buffer, _) = inbox.buffer_for_read(true);
                let room = buffer.capacity() - buffer.len();
                let (now, later) = rest.split_at(room.min(rest.len()));
                buffer.extend_from_slice(now);
                rest = later;
                reads += 1;
                while inbox.next_frame().unwrap().is_some() {}
            }
            inbox.release_if_empty();
            assert!(reads <= if round == 0 { 2 } else { 1 }, "{reads} reads");
        }
    }
}
