//! One direction of the way between two nodes.

use types::Prng;

use super::segments::Segment;

/// What one direction of the way between two nodes is like.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Link {
    /// Time that everything needs at least, in microseconds.
    pub latency_us: u32,
    /// What is added to it at most, in microseconds: uniform from 0 to this.
    pub jitter_us: u32,
    /// One in so many draws has the heavy tail; 0: none.
    pub tail_one_in: u32,
    /// What the heavy tail multiplies the time by.
    pub tail_factor: u32,
    /// Bytes that fit through in a second, all connections together; 1 or more.
    pub bytes_per_second: u64,
    /// Bytes of one connection that may be on the way or unread, 1 or more: then its writer waits.
    pub window_bytes: u32,
    /// Bytes that travel in one piece at most, 1 or more.
    pub chunk_bytes_max: u32,
}

impl Default for Link {
    fn default() -> Link {
        Link {
            latency_us: 100,
            jitter_us: 20,
            tail_one_in: 0,
            tail_factor: 1,
            bytes_per_second: 125_000_000,
            window_bytes: 64 << 10,
            chunk_bytes_max: 16 << 10,
        }
    }
}

impl Link {
    /// The way from a node to itself, unless another is set.
    pub fn loopback() -> Link {
        Link {
            latency_us: 10,
            jitter_us: 5,
            bytes_per_second: 1_000_000_000,
            ..Link::default()
        }
    }

    pub(super) fn check(&self) {
        assert!(self.bytes_per_second > 0, "a link lets something through");
        assert!(self.window_bytes > 0, "a window lets something through");
        assert!(self.chunk_bytes_max > 0, "a piece has at least one byte");
    }
}

/// How a link is cut.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cut {
    /// What arrives waits and goes on when the link is restored.
    Hold,
    /// What arrives is lost. The ends find out by their own time limits, or by a reset after the link is restored.
    BlackHole,
}

/// A link and what is going on in it. Its streams are its own, one per purpose.
pub(super) struct Directed {
    pub(super) link: Link,
    /// Whether `link` was set for it and not by default.
    pub(super) set: bool,
    pub(super) cut: Option<Cut>,
    /// What waits for the end of a cut, with its place in the queue.
    pub(super) held: Vec<(u64, Segment)>,
    /// When the last byte that was sent leaves the sender, in nanoseconds.
    busy_until_ns: u64,
    delays: Prng,
    pieces: Prng,
    retries: Prng,
    pub(super) resets: Prng,
}

impl Directed {
    pub(super) fn new(seed: u64, from: u64, to: u64, link: Link) -> Directed {
        let stream = |purpose| Prng::new(seed, &format!("link {from} {to} {purpose}"));
        Directed {
            link,
            set: false,
            cut: None,
            held: Vec::new(),
            busy_until_ns: 0,
            delays: stream("delays"),
            pieces: stream("pieces"),
            retries: stream("retries"),
            resets: stream("resets"),
        }
    }

    /// When something that is sent at `now_us` and has `length_bytes` arrives.
    pub(super) fn arrival_us(&mut self, now_us: u64, length_bytes: usize) -> u64 {
        let departure_ns = if length_bytes == 0 {
            now_us * 1000
        } else {
            let passage_ns = u128::from(length_bytes as u64) * 1_000_000_000
                / u128::from(self.link.bytes_per_second);
            let passage_ns = u64::try_from(passage_ns).expect("a passage ends within 500 years");
            self.busy_until_ns = self.busy_until_ns.max(now_us * 1000) + passage_ns;
            self.busy_until_ns
        };
        departure_ns.div_ceil(1000) + self.delay_us()
    }

    fn delay_us(&mut self) -> u64 {
        let jitter_us = self.delays.below(u64::from(self.link.jitter_us) + 1);
        let delay_us = u64::from(self.link.latency_us) + jitter_us;
        let tail_one_in = u64::from(self.link.tail_one_in);
        if tail_one_in > 0 && self.delays.chance(1, tail_one_in) {
            delay_us * u64::from(self.link.tail_factor)
        } else {
            delay_us
        }
    }

    /// How many of the `rest_bytes` of a write travel in the next piece, at least 1.
    pub(super) fn piece_bytes(&mut self, rest_bytes: usize) -> usize {
        let whole = rest_bytes.min(self.link.chunk_bytes_max as usize);
        if whole > 1 && self.pieces.chance(1, 4) {
            1 + self.pieces.below(whole as u64 - 1) as usize
        } else {
            whole
        }
    }

    /// After what time something that was lost is sent again once it can pass.
    pub(super) fn retry_us(&mut self) -> u64 {
        const RETRY_US_MAX: u64 = 200_000;
        self.retries.below(RETRY_US_MAX + 1)
    }
}
