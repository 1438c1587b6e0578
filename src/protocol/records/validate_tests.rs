//! Each refusal once, and what passes untouched. Kafka's own answers are compared in `golden_tests.rs`.

use super::validate::*;
use super::*;
use bytes::Bytes;
use types::{ErrorCode, Wall};

const NOW: i64 = 1_700_000_000_000;

fn policy() -> ProducePolicy {
    ProducePolicy {
        max_message_bytes: 1 << 20,
        segment_bytes: 1 << 30,
        timestamp_type: TimestampType::CreateTime,
        timestamp_before_max_ms: i64::MAX,
        timestamp_after_max_ms: 3_600_000,
        compression: TargetCompression::Producer,
        compact: false,
        decompressed_bytes_max: 1 << 20,
    }
}

fn validate(
    policy: &ProducePolicy,
    records: &Bytes,
) -> Result<ValidatedBatch, ProduceRecordsError> {
    validate_produce(
        Wall::from_millis(NOW),
        policy,
        &mut Scratch::default(),
        records,
        9,
    )
}

fn batch_of(count: i64, compression: Compression) -> Bytes {
    let mut builder = BatchBuilder::new(0).compression(compression);
    for index in 0..count {
        builder.append(NOW + index % 3, Some(b"key"), Some(b"value"), &[]);
    }
    builder.build().into_bytes()
}

/// The batch with another header, checksum included.
fn with_header(bytes: &Bytes, change: impl Fn(&mut BatchHeader)) -> Bytes {
    let batch = Batch::parse(bytes).unwrap();
    let mut header = *batch.header();
    change(&mut header);
    header.set_crc(&batch.record_bytes());
    [&header.encode()[..], &batch.record_bytes()]
        .concat()
        .into()
}

#[test]
fn a_good_batch_shares_its_records_with_the_request() {
    for compression in Compression::ALL {
        let request = batch_of(5, compression);
        let validated = validate(&policy(), &request).unwrap();
        assert!(!validated.reencoded);
        assert_eq!(
            validated.records.as_ptr(),
            request[BATCH_HEADER_BYTES..].as_ptr()
        );
        assert_eq!(validated.record_count, 5);
        assert_eq!(validated.max_timestamp, NOW + 2);
        assert_eq!(validated.offset_delta_of_max_timestamp, 2);
        assert_eq!(validated.log_append_time, None);
        let [header, records] = validated.chunks_at(0, -1);
        assert_eq!([header, records].concat(), request);
    }
}

#[test]
fn a_batch_is_compressed_anew_only_if_the_topic_has_another_codec() {
    for from in Compression::ALL {
        for to in Compression::ALL {
            let request = batch_of(500, from);
            let target = TargetCompression::Codec(to.into());
            let policy = ProducePolicy {
                compression: target,
                ..policy()
            };
            let validated = validate(&policy, &request).unwrap();
            assert_eq!(validated.reencoded, from != to, "{from:?} to {to:?}");
            let written = Bytes::from(validated.chunks_at(9, 2).concat());
            let batch = Batch::parse(&written).unwrap();
            batch.verify_crc().unwrap();
            assert_eq!(batch.header().compression(), Ok(to));
            let sent = Batch::parse(&request)
                .unwrap()
                .records()
                .map(|r| r.unwrap().timestamp);
            assert!(batch.records().map(|r| r.unwrap().timestamp).eq(sent));
        }
    }
}

#[test]
fn the_time_of_appending_can_be_set_again_later() {
    let policy = ProducePolicy {
        timestamp_type: TimestampType::LogAppendTime,
        ..policy()
    };
    let mut validated = validate(&policy, &batch_of(3, Compression::Lz4)).unwrap();
    assert_eq!(validated.log_append_time, Some(NOW));
    validated.set_log_append_time(NOW + 50);
    let written = Bytes::from(validated.chunks_at(9, 2).concat());
    let batch = Batch::parse(&written).unwrap();
    batch.verify_crc().unwrap();
    assert!(
        batch
            .records()
            .all(|record| record.unwrap().timestamp == NOW + 50)
    );
}

#[test]
fn a_wrong_largest_timestamp_is_put_right() {
    let request = with_header(&batch_of(3, Compression::None), |header| {
        header.max_timestamp = 1
    });
    let validated = validate(&policy(), &request).unwrap();
    assert_eq!(validated.header.max_timestamp, NOW + 2);
    let written = Bytes::from(validated.chunks_at(0, 0).concat());
    Batch::parse(&written).unwrap().verify_crc().unwrap();
}

#[test]
fn each_fault_of_a_header_has_its_code() {
    let good = batch_of(3, Compression::None);
    let cases: &[(&str, fn(&mut BatchHeader), ErrorCode)] = &[
        ("offset", |h| h.base_offset = 1, ErrorCode::InvalidRecord),
        (
            "count and delta",
            |h| h.last_offset_delta = 1,
            ErrorCode::InvalidRecord,
        ),
        (
            "no record",
            |h| (h.record_count, h.last_offset_delta) = (0, -1),
            ErrorCode::InvalidRecord,
        ),
        (
            "too few",
            |h| (h.record_count, h.last_offset_delta) = (2, 1),
            ErrorCode::InvalidRecord,
        ),
        (
            "too many",
            |h| (h.record_count, h.last_offset_delta) = (4, 3),
            ErrorCode::InvalidRecord,
        ),
        (
            "control",
            |h| h.attributes |= attribute::CONTROL,
            ErrorCode::InvalidRecord,
        ),
        (
            "horizon",
            |h| h.attributes |= attribute::DELETE_HORIZON,
            ErrorCode::InvalidRecord,
        ),
        (
            "unknown bit",
            |h| h.attributes |= 1 << 9,
            ErrorCode::InvalidRecord,
        ),
        (
            "stamp",
            |h| h.attributes |= attribute::LOG_APPEND_TIME,
            ErrorCode::InvalidTimestamp,
        ),
        (
            "codec",
            |h| h.attributes |= 6,
            ErrorCode::UnsupportedCompressionType,
        ),
        (
            "sequence",
            |h| (h.producer_id, h.producer_epoch) = (1, 0),
            ErrorCode::InvalidRecord,
        ),
        (
            "epoch",
            |h| (h.producer_id, h.base_sequence) = (1, 0),
            ErrorCode::InvalidRecord,
        ),
        (
            "no producer",
            |h| h.attributes |= attribute::TRANSACTIONAL,
            ErrorCode::InvalidRecord,
        ),
        ("magic", |h| h.magic = 1, ErrorCode::InvalidRecord),
        ("later magic", |h| h.magic = 3, ErrorCode::CorruptMessage),
        ("length", |h| h.batch_length = 20, ErrorCode::CorruptMessage),
        ("cut off", |h| h.batch_length += 1, ErrorCode::InvalidRecord),
    ];
    for (name, change, code) in cases {
        let error = validate(&policy(), &with_header(&good, change)).unwrap_err();
        assert_eq!(error.error_code(), *code, "{name}: {error}");
        assert!(!error.to_string().is_empty());
    }
}

#[test]
fn each_fault_of_the_bytes_has_its_code() {
    let good = batch_of(3, Compression::None);
    let mut damaged = good.to_vec();
    *damaged.last_mut().unwrap() ^= 4;
    let twice = [&good[..], &good[..]].concat();
    let longer = [&good[..], &[0]].concat();
    let cases: [(&str, Vec<u8>, ErrorCode); 5] = [
        ("nothing", Vec::new(), ErrorCode::InvalidRecord),
        (
            "cut off",
            good[..good.len() - 1].to_vec(),
            ErrorCode::InvalidRecord,
        ),
        ("damaged", damaged, ErrorCode::CorruptMessage),
        ("two batches", twice, ErrorCode::InvalidRecord),
        ("a byte more", longer, ErrorCode::InvalidRecord),
    ];
    for (name, bytes, code) in cases {
        let error = validate(&policy(), &bytes.into()).unwrap_err();
        assert_eq!(error.error_code(), code, "{name}: {error}");
    }
}

#[test]
fn sizes_are_limited_before_and_after_compression() {
    let gzip = batch_of(1000, Compression::Gzip);
    let plain = batch_of(1000, Compression::None);
    let (to_plain, to_gzip) = (Compression::None.into(), Compression::Gzip.into());
    let cases = [
        (&plain, None, plain.len(), plain.len(), None),
        (
            &plain,
            None,
            plain.len() - 1,
            plain.len(),
            Some(ErrorCode::MessageTooLarge),
        ),
        (
            &plain,
            None,
            plain.len(),
            plain.len() - 1,
            Some(ErrorCode::RecordListTooLarge),
        ),
        (&gzip, None, gzip.len(), gzip.len(), None),
        (&gzip, Some(to_plain), plain.len(), plain.len(), None),
        (
            &gzip,
            Some(to_plain),
            plain.len() - 1,
            plain.len(),
            Some(ErrorCode::MessageTooLarge),
        ),
        (
            &gzip,
            Some(to_plain),
            plain.len(),
            plain.len() - 1,
            Some(ErrorCode::RecordListTooLarge),
        ),
        (&plain, Some(to_gzip), plain.len(), gzip.len() + 50, None),
    ];
    for (request, target, max_message_bytes, segment_bytes, code) in cases {
        let compression = target.map_or(TargetCompression::Producer, TargetCompression::Codec);
        let policy = ProducePolicy {
            max_message_bytes,
            segment_bytes,
            compression,
            ..policy()
        };
        let answer = validate(&policy, request).map_err(|error| error.error_code());
        assert_eq!(answer.err(), code, "{policy:?}");
    }
}

#[test]
fn a_bomb_is_too_large() {
    let mut builder = BatchBuilder::new(0).compression(Compression::Zstd);
    builder.append(NOW, None, Some(&vec![0; 2 << 20]), &[]);
    let error = validate(&policy(), &builder.build().into_bytes()).unwrap_err();
    assert_eq!(error.error_code(), ErrorCode::MessageTooLarge);
}

#[test]
fn zstd_needs_version_7() {
    let request = batch_of(1, Compression::Zstd);
    let now = Wall::from_millis(NOW);
    let answer =
        |version| validate_produce(now, &policy(), &mut Scratch::default(), &request, version);
    assert_eq!(
        answer(6).unwrap_err().error_code(),
        ErrorCode::UnsupportedCompressionType
    );
    assert!(answer(7).is_ok());
}

#[test]
fn refused_records_are_named() {
    for compression in Compression::ALL {
        let mut builder = BatchBuilder::new(0).compression(compression);
        builder.append(NOW, None, None, &[]);
        builder.append(NOW, Some(b""), None, &[]);
        builder.append(NOW + 3_600_001, Some(b"k"), None, &[]);
        builder.append(NO_TIMESTAMP, None, None, &[]);
        let request = builder.build().into_bytes();
        let compacted = ProducePolicy {
            compact: true,
            ..policy()
        };
        let cases = [
            (policy(), vec![2], ErrorCode::InvalidTimestamp),
            (
                compacted.clone(),
                vec![0, 2, 3],
                ErrorCode::InvalidTimestamp,
            ),
            (
                ProducePolicy {
                    timestamp_type: TimestampType::LogAppendTime,
                    ..compacted
                },
                vec![0, 3],
                ErrorCode::InvalidRecord,
            ),
        ];
        for (policy, indexes, code) in cases {
            let error = validate(&policy, &request).unwrap_err();
            assert_eq!(error.error_code(), code);
            let named: Vec<u32> = error
                .record_errors()
                .iter()
                .map(|error| error.index)
                .collect();
            assert_eq!(named, indexes, "{compression:?}");
            assert!(!error.record_errors()[0].cause.to_string().is_empty());
        }
    }
}

#[test]
fn refused_records_are_named_up_to_a_number() {
    let mut builder = BatchBuilder::new(0);
    for _ in 0..RECORD_ERRORS_MAX + 5 {
        builder.append(NOW, None, None, &[]);
    }
    let policy = ProducePolicy {
        compact: true,
        ..policy()
    };
    let error = validate(&policy, &builder.build().into_bytes()).unwrap_err();
    assert_eq!(error.record_errors().len(), RECORD_ERRORS_MAX);
    assert!(error.to_string().starts_with("1005 records"), "{error}");
}

#[test]
fn offsets_inside_a_batch_count_up_from_zero() {
    for compression in Compression::ALL {
        let mut builder = BatchBuilder::new(0).compression(compression);
        builder.append_at(0, NOW, None, None, &[]);
        builder.append_at(2, NOW, None, None, &[]);
        let request = with_header(&builder.build().into_bytes(), |h| h.last_offset_delta = 1);
        let error = validate(&policy(), &request).unwrap_err();
        assert_eq!(
            error,
            ProduceRecordsError::OffsetDelta {
                index: 1,
                offset_delta: 2
            }
        );
    }
}
