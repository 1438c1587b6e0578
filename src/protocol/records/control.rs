//! The keys of control records. Their values are messages of their own.

use bytes::Bytes;

/// Bytes of the key that [`ControlRecordType::key`] makes.
pub const CONTROL_KEY_BYTES: usize = 4;

/// The version of the key that is written.
const KEY_VERSION: i16 = 0;

/// What a control record says. Clients skip types that they do not know.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
#[repr(i16)]
pub enum ControlRecordType {
    /// The producer's transaction was aborted; the value is an EndTxnMarker.
    Abort = 0,
    /// The producer's transaction was committed; the value is an EndTxnMarker.
    Commit = 1,
    /// A leader of a Raft log began its epoch; the value is a LeaderChangeMessage.
    LeaderChange = 2,
    /// First record of a snapshot; the value is a SnapshotHeaderRecord.
    SnapshotHeader = 3,
    /// Last record of a snapshot; the value is a SnapshotFooterRecord.
    SnapshotFooter = 4,
    /// The quorum's feature level from here on; the value is a KRaftVersionRecord.
    KRaftVersion = 5,
    /// The quorum's voters from here on; the value is a VotersRecord.
    KRaftVoters = 6,
}

impl ControlRecordType {
    /// Every type, in order of its code.
    pub const ALL: [ControlRecordType; 7] = [
        ControlRecordType::Abort,
        ControlRecordType::Commit,
        ControlRecordType::LeaderChange,
        ControlRecordType::SnapshotHeader,
        ControlRecordType::SnapshotFooter,
        ControlRecordType::KRaftVersion,
        ControlRecordType::KRaftVoters,
    ];

    /// The number in the key.
    pub const fn code(self) -> i16 {
        self as i16
    }

    /// The type with this number, if there is one.
    pub fn from_code(code: i16) -> Option<ControlRecordType> {
        ControlRecordType::ALL
            .into_iter()
            .find(|kind| kind.code() == code)
    }

    /// The key of a control record of this type.
    pub fn key(self) -> Bytes {
        let mut key = [0; CONTROL_KEY_BYTES];
        key[..2].copy_from_slice(&KEY_VERSION.to_be_bytes());
        key[2..].copy_from_slice(&self.code().to_be_bytes());
        Bytes::copy_from_slice(&key)
    }

    /// The type that a control record's key names.
    ///
    /// A later version of the key is read like this one, as Kafka does: it may only have grown.
    ///
    /// # Errors
    /// The key is shorter than four bytes or its version is negative.
    pub fn parse_key(key: &[u8]) -> Result<ParsedControlType, ControlKeyError> {
        let Some([version_high, version_low, code_high, code_low]) = key.first_chunk() else {
            return Err(ControlKeyError::TooShort(key.len()));
        };
        let version = i16::from_be_bytes([*version_high, *version_low]);
        if version < 0 {
            return Err(ControlKeyError::Version(version));
        }
        let code = i16::from_be_bytes([*code_high, *code_low]);
        Ok(ControlRecordType::from_code(code)
            .map_or(ParsedControlType::Unknown(code), ParsedControlType::Known))
    }
}

/// What a control record's key names.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ParsedControlType {
    /// A type that exists here.
    Known(ControlRecordType),
    /// A type of a later release, to be skipped.
    Unknown(i16),
}

/// Why a control record's key cannot be read.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum ControlKeyError {
    /// The key has fewer than four bytes.
    #[error("a control record's key has at least 4 bytes, this one has {0}")]
    TooShort(usize),
    /// The version is negative.
    #[error("a control record's key cannot have version {0}")]
    Version(i16),
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_round_trip() {
        for kind in ControlRecordType::ALL {
            let key = kind.key();
            assert_eq!(key.len(), CONTROL_KEY_BYTES);
            assert_eq!(
                ControlRecordType::parse_key(&key),
                Ok(ParsedControlType::Known(kind))
            );
        }
    }

    #[test]
    fn foreign_keys() {
        let cases: [(&[u8], Result<ParsedControlType, ControlKeyError>); 5] = [
            (&[], Err(ControlKeyError::TooShort(0))),
            (&[0, 0, 0], Err(ControlKeyError::TooShort(3))),
            (&[0xff, 0xff, 0, 0], Err(ControlKeyError::Version(-1))),
            (&[0, 0, 0, 7], Ok(ParsedControlType::Unknown(7))),
            (
                &[0, 9, 0, 1, 5],
                Ok(ParsedControlType::Known(ControlRecordType::Commit)),
            ),
        ];
        for (key, expected) in cases {
            assert_eq!(ControlRecordType::parse_key(key), expected, "{key:?}");
        }
    }
}
