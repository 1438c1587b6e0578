//! Records that brokers write for themselves, as text.

use std::fmt::Debug;
use std::path::Path;

use bytes::Bytes;
use protocol::records::{ControlRecordType, ParsedControlType, Record};
use protocol::stored::frame::{decode_coordinator_key, decode_metadata};
use protocol::stored::{
    EndTxnMarker, GroupKey, GroupValue, KRaftVersionRecord, LeaderChangeMessage, ShareKey,
    ShareValue, SnapshotFooterRecord, SnapshotHeaderRecord, TransactionKey, TransactionValue,
    VotersRecord,
};
use protocol::wire::{DecodeError, Decoder, Message};

/// What the records of a log are.
#[derive(Clone, Copy, PartialEq, Eq, Debug, clap::ValueEnum)]
pub(super) enum RecordKind {
    /// Keys and values of clients.
    Plain,
    /// Records of `__cluster_metadata`.
    Metadata,
    /// Records of `__consumer_offsets`.
    Offsets,
    /// Records of `__transaction_state`.
    Transactions,
    /// Records of `__share_group_state`.
    Share,
}

impl RecordKind {
    /// By the name of the partition's directory.
    pub fn of(path: &Path) -> RecordKind {
        let partition = path.parent().and_then(Path::file_name);
        let partition = partition.map(|name| name.to_string_lossy().into_owned());
        let topic = partition.as_deref().and_then(|name| name.rsplit_once('-'));
        match topic.map(|(topic, _)| topic) {
            Some("__cluster_metadata") => RecordKind::Metadata,
            Some("__consumer_offsets") => RecordKind::Offsets,
            Some("__transaction_state") => RecordKind::Transactions,
            Some("__share_group_state") => RecordKind::Share,
            _ => RecordKind::Plain,
        }
    }
}

/// A record of that kind as text; nothing if it is a plain one.
pub(super) fn record(kind: RecordKind, record: &Record) -> Option<String> {
    let key = record.key.clone().unwrap_or_default();
    let value = record.value.clone();
    let decoded = match kind {
        RecordKind::Plain => return None,
        RecordKind::Metadata => decode_metadata(value.unwrap_or_default()).map(|one| tidy(&one)),
        RecordKind::Offsets => keyed(key, value, GroupKey::from_record, GroupValue::from_record),
        RecordKind::Transactions => keyed(
            key,
            value,
            TransactionKey::from_record,
            TransactionValue::from_record,
        ),
        RecordKind::Share => keyed(key, value, ShareKey::from_record, ShareValue::from_record),
    };
    Some(decoded.unwrap_or_else(|error| format!("UNREADABLE: {error}")))
}

fn keyed<K: Debug, V: Debug>(
    key: Bytes,
    value: Option<Bytes>,
    read_key: impl FnOnce(Bytes) -> Result<K, DecodeError>,
    read_value: impl FnOnce(i16, Bytes) -> Result<V, DecodeError>,
) -> Result<String, DecodeError> {
    let (kind, _) = decode_coordinator_key(key.clone())?;
    let key = tidy(&read_key(key)?);
    match value {
        None => Ok(format!("{key} removed")),
        Some(value) => Ok(format!("{key} is {}", tidy(&read_value(kind, value)?))),
    }
}

/// A control record as text.
pub(super) fn control(record: &Record) -> String {
    let key = record.key.clone().unwrap_or_default();
    let value = record.value.clone().unwrap_or_default();
    let kind = match ControlRecordType::parse_key(&key) {
        Ok(ParsedControlType::Known(kind)) => kind,
        Ok(ParsedControlType::Unknown(code)) => return format!("control record of type {code}"),
        Err(error) => return format!("UNREADABLE: {error}"),
    };
    let decoded = match kind {
        ControlRecordType::Abort | ControlRecordType::Commit => read::<EndTxnMarker>(value, true),
        ControlRecordType::LeaderChange => read::<LeaderChangeMessage>(value, false),
        ControlRecordType::SnapshotHeader => read::<SnapshotHeaderRecord>(value, false),
        ControlRecordType::SnapshotFooter => read::<SnapshotFooterRecord>(value, false),
        ControlRecordType::KRaftVersion => read::<KRaftVersionRecord>(value, false),
        ControlRecordType::KRaftVoters => read::<VotersRecord>(value, false),
    };
    match decoded {
        Ok(text) => format!("{kind:?} {text}"),
        Err(error) => format!("{kind:?} UNREADABLE: {error}"),
    }
}

/// A message behind its version, which stands before the body or is the body's first field.
fn read<M: Message + Debug>(value: Bytes, is_before: bool) -> Result<String, DecodeError> {
    let version = Decoder::new(value.clone()).int16()?;
    let body = if is_before { value.slice(2..) } else { value };
    // What a later version adds is at the end, and is not shown.
    let version = version.clamp(*M::VERSIONS.start(), *M::VERSIONS.end());
    let message = M::decode(&mut Decoder::new(body), version)?;
    Ok(tidy(&message))
}

/// Debug text without fields that say nothing.
fn tidy<T: Debug>(value: &T) -> String {
    format!("{value:?}")
        .replace(", unknown_tagged_fields: []", "")
        .replace("unknown_tagged_fields: []", "")
}

#[cfg(test)]
mod tests {
    use super::*;
    use protocol::stored::{
        MetadataRecord, NoOpRecord, OffsetCommitKey, OffsetCommitValue, TopicRecord,
    };

    fn keyed_record(key: Option<Bytes>, value: Option<Bytes>) -> Record {
        Record {
            key,
            value,
            ..Record::default()
        }
    }

    #[test]
    fn the_directory_tells_the_kind() {
        let table = [
            ("/d/__cluster_metadata-0/1.log", RecordKind::Metadata),
            ("__consumer_offsets-17/1.log", RecordKind::Offsets),
            ("__transaction_state-3/1.log", RecordKind::Transactions),
            ("__share_group_state-3/1.log", RecordKind::Share),
            ("/d/my-topic-0/1.log", RecordKind::Plain),
            ("1.log", RecordKind::Plain),
        ];
        for (path, expected) in table {
            assert_eq!(RecordKind::of(Path::new(path)), expected, "{path}");
        }
    }

    #[test]
    fn stored_records_are_read() {
        let topic = MetadataRecord::Topic(TopicRecord {
            name: "t".to_owned(),
            ..TopicRecord::default()
        });
        let value = protocol::stored::frame::encode_metadata(&topic, 0).expect("a record");
        let text = record(RecordKind::Metadata, &keyed_record(None, Some(value))).unwrap();
        assert!(
            text.starts_with("Topic(TopicRecord { name: \"t\""),
            "{text}"
        );
        let empty = MetadataRecord::NoOp(NoOpRecord::default());
        let value = protocol::stored::frame::encode_metadata(&empty, 0).expect("a record");
        let text = record(RecordKind::Metadata, &keyed_record(None, Some(value))).unwrap();
        assert_eq!(text, "NoOp(NoOpRecord {  })");
        let bad = Some(Bytes::from_static(b"\x09"));
        let text = record(RecordKind::Metadata, &keyed_record(None, bad)).unwrap();
        assert!(text.starts_with("UNREADABLE: "), "{text}");
        assert_eq!(record(RecordKind::Plain, &keyed_record(None, None)), None);
    }

    #[test]
    fn committed_offsets_are_read_and_so_is_their_removal() {
        let key = GroupKey::OffsetCommit(OffsetCommitKey {
            group: "g".to_owned(),
            topic: "t".to_owned(),
            partition: 1,
        });
        let value = GroupValue::OffsetCommit(OffsetCommitValue {
            offset: 42,
            ..OffsetCommitValue::default()
        });
        let key = Some(key.to_record().expect("a key"));
        let value = Some(value.to_record(3).expect("a value"));
        let text = record(RecordKind::Offsets, &keyed_record(key.clone(), value)).unwrap();
        assert!(
            text.contains("group: \"g\"") && text.contains("offset: 42"),
            "{text}"
        );
        let text = record(RecordKind::Offsets, &keyed_record(key, None)).unwrap();
        assert!(text.ends_with(" removed"), "{text}");
    }

    #[test]
    fn control_records_are_read() {
        let marker = Bytes::from_static(b"\x00\x00\x00\x00\x00\x05");
        let key = Some(ControlRecordType::Commit.key());
        let text = control(&keyed_record(key, Some(marker)));
        assert_eq!(text, "Commit EndTxnMarker { coordinator_epoch: 5 }");
        let unknown = Some(Bytes::from_static(b"\x00\x00\x00\x63"));
        assert_eq!(
            control(&keyed_record(unknown, None)),
            "control record of type 99"
        );
        assert!(control(&keyed_record(None, None)).starts_with("UNREADABLE: "));
    }
}
