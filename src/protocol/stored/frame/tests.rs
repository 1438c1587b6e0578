use super::*;
use crate::stored::{GroupMetadataKey, OffsetCommitKey, OffsetCommitValue, TopicRecord};

#[test]
fn metadata_records_stand_in_a_frame_of_varints() {
    let topic = TopicRecord {
        name: "t".into(),
        ..Default::default()
    };
    let value = encode_metadata(&topic.clone().into(), 0).unwrap();
    assert_eq!(value, [&[1, 2, 0, 2, b't'][..], &[0; 16], &[0]].concat());
    assert_eq!(
        decode_metadata(value.clone()),
        Ok(MetadataRecord::Topic(topic))
    );

    let damaged = |at: usize, byte: u8| {
        let mut bytes = value.to_vec();
        bytes[at] = byte;
        decode_metadata(Bytes::from(bytes))
    };
    let frame_2 = DecodeError::Version {
        name: "metadata frame",
        version: 2,
    };
    assert_eq!(damaged(0, 2), Err(frame_2));
    assert_eq!(damaged(1, 99), Err(DecodeError::UnknownKey(99)));
    let version_7 = DecodeError::Version {
        name: "TopicRecord",
        version: 7,
    };
    assert_eq!(damaged(2, 7), Err(version_7));
    let longer = Bytes::from([&value[..], &[0]].concat());
    assert_eq!(decode_metadata(longer), Err(DecodeError::LeftOver(1)));
}

#[test]
fn coordinator_records_begin_with_type_or_version() {
    let key = GroupKey::from(OffsetCommitKey {
        group: "g".into(),
        topic: "t".into(),
        partition: 3,
    });
    let bytes = key.to_record().unwrap();
    assert_eq!(bytes, [0, 1, 0, 1, b'g', 0, 1, b't', 0, 0, 0, 3][..]);
    assert_eq!(GroupKey::from_record(bytes), Ok(key));

    let value = GroupValue::from(OffsetCommitValue {
        offset: 9,
        ..Default::default()
    });
    let bytes = value.to_record(3).unwrap();
    assert_eq!(bytes[..2], [0, 3]);
    assert_eq!(GroupValue::from_record(1, bytes), Ok(value));

    let unknown = Bytes::from_static(&[0, 99, 0, 1, b'g']);
    assert_eq!(
        GroupKey::from_record(unknown),
        Err(DecodeError::UnknownKey(99))
    );
    let group = GroupKey::from(GroupMetadataKey { group: "g".into() });
    assert_eq!(group.to_record().unwrap(), [0, 2, 0, 1, b'g'][..]);
}
