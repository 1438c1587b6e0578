//! How stored records stand in the keys and values of a log's records.
//!
//! Metadata: frame version, record key, version, each an unsigned varint, then the body (KIP-631).
//! Coordinators: a record's key is its type as 16 bits and a body of version 0, its value a version as 16 bits
//! and a body.

#[cfg(test)]
mod tests;

use bytes::Bytes;

use crate::stored::{
    GroupKey, GroupValue, MetadataRecord, ShareKey, ShareValue, TransactionKey, TransactionValue,
};
use crate::wire::{DecodeError, Decoder, EncodeError, Encoder, Message};

/// The only metadata frame that there is.
const METADATA_FRAME_VERSION: u32 = 1;

/// Reads the value of a record of `__cluster_metadata`.
///
/// # Errors
/// Another frame version, an unknown key or version, or bytes that are not the record.
pub fn decode_metadata(value: Bytes) -> Result<MetadataRecord, DecodeError> {
    let mut decoder = Decoder::new(value);
    let frame = decoder.unsigned_varint()?;
    if frame != METADATA_FRAME_VERSION {
        return Err(DecodeError::Version {
            name: "metadata frame",
            version: small(frame)?,
        });
    }
    let key = decoder.unsigned_varint()?;
    let version = decoder.unsigned_varint()?;
    let record = MetadataRecord::decode(small(key)?, &mut decoder, small(version)?)?;
    decoder.finish()?;
    Ok(record)
}

/// Writes the value of a record of `__cluster_metadata`.
///
/// # Errors
/// As [`Message::encode`].
pub fn encode_metadata(record: &MetadataRecord, version: i16) -> Result<Bytes, EncodeError> {
    let mut encoder = Encoder::new();
    encoder.unsigned_varint(METADATA_FRAME_VERSION);
    encoder.unsigned_varint(record.key() as u32);
    encoder.unsigned_varint(version as u32);
    record.encode(&mut encoder, version)?;
    Ok(encoder.into_bytes())
}

/// Reads the key of a coordinator's record: its type, and the decoder at the key's body (version 0).
///
/// # Errors
/// Fewer than two bytes.
pub fn decode_coordinator_key(key: Bytes) -> Result<(i16, Decoder), DecodeError> {
    let mut decoder = Decoder::new(key);
    let kind = decoder.int16()?;
    Ok((kind, decoder))
}

/// Reads a value behind its 16 bits of version.
///
/// # Errors
/// Another version than the record has, or bytes that are not the record.
pub fn decode_versioned<M: Message>(value: Bytes) -> Result<M, DecodeError> {
    let mut decoder = Decoder::new(value);
    let version = decoder.int16()?;
    let record = M::decode(&mut decoder, version)?;
    decoder.finish()?;
    Ok(record)
}

/// Writes a value behind its 16 bits of version.
///
/// # Errors
/// As [`Message::encode`].
pub fn encode_versioned<M: Message>(record: &M, version: i16) -> Result<Bytes, EncodeError> {
    let mut encoder = Encoder::new();
    encoder.int16(version);
    record.encode(&mut encoder, version)?;
    Ok(encoder.into_bytes())
}

macro_rules! coordinator_records {
    ($($key:ident, $value:ident;)*) => {$(
        impl $key {
            /// Reads a record's key; [`DecodeError::UnknownKey`] if its type is not known.
            pub fn from_record(key: Bytes) -> Result<$key, DecodeError> {
                let (kind, mut decoder) = decode_coordinator_key(key)?;
                let key = $key::decode(kind, &mut decoder, 0)?;
                decoder.finish()?;
                Ok(key)
            }

            /// Writes it as a record's key.
            pub fn to_record(&self) -> Result<Bytes, EncodeError> {
                let mut encoder = Encoder::new();
                encoder.int16(self.key());
                self.encode(&mut encoder, 0)?;
                Ok(encoder.into_bytes())
            }
        }

        impl $value {
            /// Reads a record's value, of the type that its key gave.
            pub fn from_record(kind: i16, value: Bytes) -> Result<$value, DecodeError> {
                let mut decoder = Decoder::new(value);
                let version = decoder.int16()?;
                let value = $value::decode(kind, &mut decoder, version)?;
                decoder.finish()?;
                Ok(value)
            }

            /// Writes it as a record's value.
            pub fn to_record(&self, version: i16) -> Result<Bytes, EncodeError> {
                let mut encoder = Encoder::new();
                encoder.int16(version);
                self.encode(&mut encoder, version)?;
                Ok(encoder.into_bytes())
            }
        }
    )*};
}

coordinator_records! {
    GroupKey, GroupValue;
    TransactionKey, TransactionValue;
    ShareKey, ShareValue;
}

fn small(value: u32) -> Result<i16, DecodeError> {
    i16::try_from(value).map_err(|_| DecodeError::Length(i64::from(value)))
}
