//! Primitive encodings of Kafka's protocol: numbers, strings, arrays, tagged fields (KIP-482), records.
//!
//! A [`Decoder`] never trusts a length: it is compared with what remains, with a cap, and with a
//! budget for the whole message, before anything is allocated. An [`Encoder`] gives a list of chunks,
//! so that record bytes are neither copied nor, for file ranges, even present.

mod decoder;
mod encoder;
#[cfg(test)]
mod tests;

use std::ops::RangeInclusive;

use bytes::Bytes;

pub use decoder::{Decoder, Tags};
pub use encoder::{Chunk, Encoder, TagWriter, encode_to_bytes};

use crate::ApiKey;

/// Most elements of one array; more is an error (as Kafka 4.4 does it).
pub const ARRAY_ELEMENTS_MAX: usize = 1_000_000;
/// Most tagged fields of one structure; more is an error.
pub const TAGGED_FIELDS_MAX: usize = 10_000;
/// Longest string, in bytes of UTF-8.
pub const STRING_BYTES_MAX: usize = i16::MAX as usize;

/// Tagged fields that the schema does not know, kept as they came: tag and bytes, by ascending tag.
pub type UnknownTaggedFields = Vec<(u32, Bytes)>;

/// Why bytes are not the message they should be.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    /// The bytes end before the value does.
    #[error("{needed} bytes needed, {remaining} remain")]
    Truncated {
        /// Bytes that the value takes.
        needed: usize,
        /// Bytes that are left.
        remaining: usize,
    },
    /// A length is negative, or beyond its type's limit.
    #[error("length {0} is out of range")]
    Length(i64),
    /// A value that may not be null is null.
    #[error("null where a value must be")]
    Null,
    /// A string is not UTF-8.
    #[error("a string is not UTF-8")]
    Utf8,
    /// A variable-length number has more bits than its type.
    #[error("a variable-length number is too long")]
    Varint,
    /// An array has more than [`ARRAY_ELEMENTS_MAX`] elements, or a structure more than [`TAGGED_FIELDS_MAX`] tags.
    #[error("{count} elements, at most {max} allowed")]
    TooMany {
        /// Elements announced.
        count: usize,
        /// Most elements allowed.
        max: usize,
    },
    /// Decoding would take far more memory than the message has bytes.
    #[error("the message would take far more memory than it has bytes")]
    Budget,
    /// A tagged field's content is shorter or longer than its announced size.
    #[error("tagged field {tag} is not as long as it says")]
    TagSize {
        /// The field's tag.
        tag: u32,
    },
    /// The tags of a structure are not strictly ascending.
    #[error("tag {tag} is repeated or out of order")]
    TagOrder {
        /// The offending tag.
        tag: u32,
    },
    /// The schema does not have this version.
    #[error("{name} has no version {version}")]
    Version {
        /// The message's name.
        name: &'static str,
        /// The version asked for.
        version: i16,
    },
    /// No such API or record key.
    #[error("unknown key {0}")]
    UnknownKey(i32),
    /// Bytes are left after the message.
    #[error("{0} bytes are left over")]
    LeftOver(usize),
}

/// Why a value cannot be written.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum EncodeError {
    /// The schema does not have this version.
    #[error("{name} has no version {version}")]
    Version {
        /// The message's name.
        name: &'static str,
        /// The version asked for.
        version: i16,
    },
    /// A field that the version lacks has a value other than its default, and may not be dropped.
    #[error("{field} is set, but version {version} does not have it")]
    FieldNotInVersion {
        /// Structure and field.
        field: &'static str,
        /// The version asked for.
        version: i16,
    },
    /// A field is null that the version does not allow to be null.
    #[error("{field} is null, which version {version} does not allow")]
    NullNotInVersion {
        /// Structure and field.
        field: &'static str,
        /// The version asked for.
        version: i16,
    },
    /// A string, array, byte field or the whole message is longer than the protocol can say.
    #[error("{0} is longer than the protocol can say")]
    TooLong(usize),
    /// A tagged field that the schema knows was also given among the unknown ones, or one was given twice.
    #[error("tag {0} is given twice")]
    DuplicateTag(u32),
}

/// Something that can stand in an array or a field: a structure or a number.
pub trait Part: Sized {
    /// Fewest bytes that one takes in any version; at least 1 bounds how many can follow.
    const SIZE_BYTES_MIN: usize;

    /// Reads one at `version`, which the caller has checked.
    fn read(decoder: &mut Decoder, version: i16) -> Result<Self, DecodeError>;

    /// Writes it at `version`, which the caller has checked.
    fn write(&self, encoder: &mut Encoder, version: i16) -> Result<(), EncodeError>;
}

/// A message with a schema of its own: request, response, header or stored record.
pub trait Message: Part + Clone + std::fmt::Debug + PartialEq + Default {
    /// The schema's name, such as `FetchRequest`.
    const NAME: &'static str;
    /// The API, for requests and responses.
    const API_KEY: Option<ApiKey>;
    /// Versions that the schema has.
    const VERSIONS: RangeInclusive<i16>;
    /// First version with tagged fields and compact lengths; `None` if there is none (KIP-482).
    const FLEXIBLE_FROM: Option<i16>;

    /// Reads one at `version`. What follows it stays in the decoder.
    ///
    /// # Errors
    /// [`DecodeError::Version`] if the schema lacks the version, else what is wrong with the bytes.
    fn decode(decoder: &mut Decoder, version: i16) -> Result<Self, DecodeError> {
        if !Self::VERSIONS.contains(&version) {
            return Err(DecodeError::Version {
                name: Self::NAME,
                version,
            });
        }
        Self::read(decoder, version)
    }

    /// Writes it at `version`.
    ///
    /// # Errors
    /// A field set that the version lacks and that may not be dropped, a null or length that the
    /// version cannot say, or a version that the schema lacks. The encoder's content is then of no use.
    fn encode(&self, encoder: &mut Encoder, version: i16) -> Result<(), EncodeError> {
        if !Self::VERSIONS.contains(&version) {
            return Err(EncodeError::Version {
                name: Self::NAME,
                version,
            });
        }
        self.write(encoder, version)
    }
}

/// A request, and the response that answers it.
pub trait Request: Message {
    /// The response's message.
    type Response: Message;
    /// The API.
    const KEY: ApiKey;
}

/// Record batches in a produce, fetch or snapshot message: bytes at hand, or a promise of them.
#[derive(Clone, Debug, PartialEq)]
pub enum Records {
    /// The bytes of zero or more batches, as they lie in the log.
    Bytes(Bytes),
    /// A placeholder that the sender replaces, typically by a range of a file.
    External(External),
}

impl Default for Records {
    fn default() -> Records {
        Records::Bytes(Bytes::new())
    }
}

impl Records {
    /// Length in bytes.
    pub fn length_bytes(&self) -> usize {
        match self {
            Records::Bytes(bytes) => bytes.len(),
            Records::External(external) => external.length_bytes as usize,
        }
    }
}

/// A placeholder for bytes that are elsewhere: counted in lengths, sent by whoever owns the slots.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct External {
    /// Which of the sender's ranges this is.
    pub slot: u32,
    /// Its length in bytes.
    pub length_bytes: u32,
}

/// Fails with [`EncodeError::FieldNotInVersion`] unless the field has its default. For generated code.
#[inline]
pub fn absent(is_default: bool, field: &'static str, version: i16) -> Result<(), EncodeError> {
    if is_default {
        Ok(())
    } else {
        Err(EncodeError::FieldNotInVersion { field, version })
    }
}

/// The value, or [`EncodeError::NullNotInVersion`]. For generated code.
#[inline]
pub fn present<'a, T>(
    value: &'a Option<T>,
    field: &'static str,
    version: i16,
) -> Result<&'a T, EncodeError> {
    value
        .as_ref()
        .ok_or(EncodeError::NullNotInVersion { field, version })
}

macro_rules! number_part {
    ($($type:ty, $get:ident, $put:ident, $size:literal;)*) => {$(
        impl Part for $type {
            const SIZE_BYTES_MIN: usize = $size;
            #[inline]
            fn read(decoder: &mut Decoder, _version: i16) -> Result<Self, DecodeError> {
                decoder.$get()
            }
            #[inline]
            fn write(&self, encoder: &mut Encoder, _version: i16) -> Result<(), EncodeError> {
                encoder.$put(*self);
                Ok(())
            }
        }
    )*};
}

number_part! {
    i8, int8, int8, 1;
    i16, int16, int16, 2;
    i32, int32, int32, 4;
    i64, int64, int64, 8;
    types::Uuid, uuid, uuid, 16;
}
