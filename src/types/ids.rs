//! Identifiers and positions.

use std::fmt;
use std::str::FromStr;

use crate::Prng;

/// A position in a partition's log. Valid offsets are 0 or more; -1 means "none" on the wire.
pub type Offset = i64;
/// The epoch of a partition's or the quorum's leader. Valid epochs are 0 or more; -1 means "none" on the wire.
pub type LeaderEpoch = i32;
/// A partition's index within its topic, 0 or more.
pub type PartitionIndex = i32;
/// A node of the cluster (broker or controller), 0 or more; -1 means "none" on the wire.
pub type NodeId = i32;
/// A producer's identity, 0 or more; -1 means "not idempotent".
pub type ProducerId = i64;
/// The epoch of a producer id, 0 or more; -1 means "not idempotent".
pub type ProducerEpoch = i16;

/// A 128-bit identifier: topics, log directories, clusters.
///
/// Kafka's text form is URL-safe base64 without padding, 22 characters (KIP-516).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Uuid(pub [u8; 16]);

impl Uuid {
    /// All zero: "no id" on the wire.
    pub const ZERO: Uuid = Uuid([0; 16]);
    /// Kafka's reserved id of the metadata topic: all zero but the last bit.
    pub const METADATA_TOPIC: Uuid = Uuid::from_u128(1);

    /// The id whose big-endian number is `value`.
    pub const fn from_u128(value: u128) -> Uuid {
        Uuid(value.to_be_bytes())
    }

    /// The id as a big-endian number.
    pub const fn as_u128(self) -> u128 {
        u128::from_be_bytes(self.0)
    }

    /// Whether this is [`Uuid::ZERO`].
    pub fn is_zero(self) -> bool {
        self == Uuid::ZERO
    }

    /// A random (version 4) id whose text does not begin with a dash, as Kafka draws them:
    /// a leading dash would look like an option on a command line. Reserved ids (below 100) are never drawn.
    pub fn random(prng: &mut Prng) -> Uuid {
        loop {
            let mut bytes = [0u8; 16];
            bytes[..8].copy_from_slice(&prng.next_u64().to_be_bytes());
            bytes[8..].copy_from_slice(&prng.next_u64().to_be_bytes());
            bytes[6] = (bytes[6] & 0x0f) | 0x40;
            bytes[8] = (bytes[8] & 0x3f) | 0x80;
            let id = Uuid(bytes);
            if !id.to_string().starts_with('-') && id.as_u128() >= 100 {
                return id;
            }
        }
    }
}

const BASE64_URL: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

impl fmt::Display for Uuid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let value = self.as_u128();
        // 22 digits of 6 bits hold 132 bits: the last digit carries the lowest 2 bits, shifted left by 4.
        let mut text = [0u8; 22];
        for (index, digit) in text.iter_mut().enumerate() {
            let shift = 122 - 6 * index as i32;
            let six_bits = if shift >= 0 {
                value >> shift
            } else {
                value << 4
            } & 0x3f;
            *digit = BASE64_URL[six_bits as usize];
        }
        f.write_str(std::str::from_utf8(&text).expect("base64 digits are ASCII"))
    }
}

impl fmt::Debug for Uuid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Why a text is not a [`Uuid`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum UuidError {
    /// The text is not 22 characters long.
    Length(usize),
    /// The character at this index is not a base64url digit.
    Digit(usize),
    /// The last character has bits that no id uses.
    Trailing,
}

impl fmt::Display for UuidError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            UuidError::Length(length) => {
                write!(f, "an id has 22 base64url characters, not {length}")
            }
            UuidError::Digit(index) => write!(f, "character {index} is not a base64url digit"),
            UuidError::Trailing => write!(f, "the last character has bits beyond 128"),
        }
    }
}

impl std::error::Error for UuidError {}

impl FromStr for Uuid {
    type Err = UuidError;

    fn from_str(text: &str) -> Result<Uuid, UuidError> {
        // Padding is tolerated, as Java's decoder does.
        let text = text.trim_end_matches('=');
        if text.len() != 22 {
            return Err(UuidError::Length(text.len()));
        }
        let mut value = 0u128;
        for (index, byte) in text.bytes().enumerate() {
            let digit = BASE64_URL
                .iter()
                .position(|&d| d == byte)
                .ok_or(UuidError::Digit(index))?;
            if index < 21 {
                value = (value << 6) | digit as u128;
            } else {
                if digit & 0x0f != 0 {
                    return Err(UuidError::Trailing);
                }
                value = (value << 2) | (digit >> 4) as u128;
            }
        }
        Ok(Uuid::from_u128(value))
    }
}

/// One partition of one topic, by the topic's id, so that a re-created topic is another one.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct TopicPartition {
    /// The topic's id.
    pub topic_id: Uuid,
    /// The partition's index in the topic.
    pub partition: PartitionIndex,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn uuid_text_matches_kafkas_form() {
        // Written by Kafka's own Uuid class.
        let table = [
            (
                0x0000_0000_0000_0000_0000_0000_0000_0001u128,
                "AAAAAAAAAAAAAAAAAAAAAQ",
            ),
            (
                0x0000_0000_0000_4001_8000_0000_0000_0001u128,
                "AAAAAAAAQAGAAAAAAAAAAQ",
            ),
            (u128::MAX, "_____________________w"),
        ];
        for (value, text) in table {
            assert_eq!(Uuid::from_u128(value).to_string(), text);
            assert_eq!(text.parse::<Uuid>(), Ok(Uuid::from_u128(value)));
        }
    }

    #[test]
    fn uuid_text_round_trips_and_never_starts_with_a_dash() {
        let mut prng = Prng::new(7, "uuid");
        for _ in 0..1000 {
            let id = Uuid::random(&mut prng);
            assert!(!id.to_string().starts_with('-'));
            assert_eq!(id.to_string().parse(), Ok(id));
        }
    }

    #[test]
    fn bad_uuid_text_names_the_reason() {
        assert_eq!("abc".parse::<Uuid>(), Err(UuidError::Length(3)));
        assert_eq!(
            "AAAAAAAAAAAA!AAAAAAAAQ".parse::<Uuid>(),
            Err(UuidError::Digit(12))
        );
        assert_eq!(
            "AAAAAAAAAAAAAAAAAAAAAB".parse::<Uuid>(),
            Err(UuidError::Trailing)
        );
    }
}
