//! Batches built, taken apart and walked.

use super::*;
use bytes::{Bytes, BytesMut};
use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;
use std::ops::ControlFlow;

pub(super) fn two_records() -> Batch {
    let mut builder = BatchBuilder::new(5).leader_epoch(3);
    builder.append(100, Some(b"key"), None, &[]);
    builder.append(101, None, Some(b"value"), &[]);
    builder.build()
}

#[test]
fn a_batch_moves_to_another_offset_without_its_records_being_touched() {
    let batch = two_records();
    let [prefix, rest] = batch.chunks_at(1 << 40, 9);
    assert_eq!(prefix.len(), BATCH_PREFIX_BYTES);
    assert_eq!(rest.as_ptr(), batch.bytes()[BATCH_PREFIX_BYTES..].as_ptr());
    let moved = Batch::parse(&[prefix, rest].concat().into()).unwrap();
    moved.verify_crc().unwrap();
    assert_eq!(moved.header().partition_leader_epoch, 9);
    let offsets: Vec<_> = moved
        .records()
        .map(|record| record.unwrap().offset)
        .collect();
    assert_eq!(offsets, [1 << 40, (1 << 40) + 1]);
}

#[test]
fn the_time_of_appending_is_set_without_reading_the_records() {
    let batch = two_records();
    let mut header = *batch.header();
    header.set_max_timestamp(TimestampType::LogAppendTime, 5000);
    let mut bytes = BytesMut::from(&batch.bytes()[..]);
    bytes[..BATCH_HEADER_BYTES].copy_from_slice(&header.encode());
    let stamped = Batch::parse(&bytes.freeze()).unwrap();
    stamped.verify_crc().unwrap();
    assert!(
        stamped
            .records()
            .all(|record| record.unwrap().timestamp == 5000)
    );
    header.set_max_timestamp(TimestampType::CreateTime, 101);
    assert_eq!(&header, batch.header());
}

#[test]
fn a_walk_tells_a_cut_tail_from_damage() {
    let batch = two_records();
    let size = batch.size_bytes();
    let two = Bytes::from([&batch.bytes()[..], &batch.bytes()[..]].concat());
    assert_eq!(batches(two.clone()).filter(Result::is_ok).count(), 2);
    for end in size..2 * size {
        let mut walk = batches(two.slice(..end));
        assert_eq!(walk.next(), Some(Ok(batch.clone())));
        match walk.next() {
            None => assert_eq!(end, size),
            Some(error) => assert!(error.unwrap_err().is_incomplete(), "cut at {end}"),
        }
        assert_eq!(walk.position(), size as u64);
        assert_eq!(walk.next(), None);
    }
    let mut damaged = two.to_vec();
    damaged[size + 16] = 9;
    let mut walk = batches(damaged.into());
    assert!(walk.next().unwrap().is_ok());
    assert_eq!(walk.next(), Some(Err(BatchError::UnsupportedMagic(9))));
    assert_eq!(walk.next(), None);
}

#[test]
fn every_damaged_bit_behind_the_prefix_shows_in_the_checksum() {
    let batch = two_records();
    for bit in BATCH_PREFIX_BYTES * 8..batch.size_bytes() * 8 {
        let mut bytes = batch.bytes().to_vec();
        bytes[bit / 8] ^= 1 << (bit % 8);
        let found = Batch::parse(&bytes.into()).and_then(|batch| batch.verify_crc());
        assert!(found.is_err(), "bit {bit}");
    }
}

#[test]
fn headers_that_no_log_holds_are_refused() {
    let good = *two_records().header();
    good.check().unwrap();
    let change = |change: fn(&mut BatchHeader)| {
        let mut header = good;
        change(&mut header);
        header.check()
    };
    assert!(change(|header| header.base_offset = -1).is_err());
    assert!(change(|header| header.base_offset = i64::MAX - 1).is_err());
    assert!(change(|header| header.last_offset_delta = -1).is_err());
    assert!(change(|header| header.record_count = -1).is_err());
    assert!(change(|header| header.record_count = 3).is_err());
    assert_eq!(
        change(|header| header.attributes |= 7),
        Err(BatchError::UnknownCompression(7))
    );
    assert!(change(|header| header.record_count = 0).is_ok());
    assert!(change(|header| header.last_offset_delta = i32::MAX).is_ok());
}

#[test]
fn sequences_wrap_to_zero() {
    assert_eq!(increment_sequence(0, 0), 0);
    assert_eq!(increment_sequence(i32::MAX, 0), i32::MAX);
    assert_eq!(increment_sequence(i32::MAX, 1), 0);
    assert_eq!(increment_sequence(i32::MAX - 1, 5), 3);
    assert_eq!(increment_sequence(i32::MAX, i32::MAX), i32::MAX - 1);
}

#[test]
fn control_batches_hold_their_type() {
    let mut builder = BatchBuilder::new(7)
        .producer(4, 2, NO_SEQUENCE)
        .transactional()
        .control();
    builder.append_control(50, ControlRecordType::Abort, &[0, 0, 0, 0, 0, 9]);
    let batch = builder.build();
    assert!(batch.header().is_control() && batch.header().is_transactional());
    let record = batch.records().next().unwrap().unwrap();
    let kind = ControlRecordType::parse_key(&record.key.unwrap());
    assert_eq!(kind, Ok(ParsedControlType::Known(ControlRecordType::Abort)));
}

#[test]
fn a_scan_stops_where_it_is_told_to() {
    let batch = two_records();
    let mut seen = 0;
    let visit = |shape: &RecordShape| {
        seen += 1;
        assert_eq!(
            (shape.index, shape.key_bytes, shape.value_bytes),
            (0, Some(3), None)
        );
        ControlFlow::Break(())
    };
    batch.scan(&mut Scratch::default(), 0, visit).unwrap();
    assert_eq!(seen, 1);
}

fn arbitrary_header() -> impl Strategy<Value = Header> {
    let value = option::of(vec(any::<u8>(), 0..20).prop_map(Bytes::from));
    (vec(any::<u8>(), 0..20).prop_map(Bytes::from), value)
        .prop_map(|(key, value)| Header { key, value })
}

fn arbitrary_blob() -> impl Strategy<Value = Option<Bytes>> {
    let small = vec(any::<u8>(), 0..40).prop_map(Bytes::from);
    let large = (any::<u8>(), 0usize..200_000).prop_map(|(byte, size)| vec![byte; size].into());
    option::of(prop_oneof![9 => small, 1 => large])
}

fn arbitrary_record() -> impl Strategy<Value = Record> {
    let timestamp = prop_oneof![0i64..2_000_000_000_000, any::<i64>()];
    let headers = prop_oneof![3 => Just(Vec::new()), 1 => vec(arbitrary_header(), 0..5)];
    // `offset` is the distance from the record before.
    (
        1i64..4,
        timestamp,
        arbitrary_blob(),
        arbitrary_blob(),
        headers,
    )
        .prop_map(|(offset, timestamp, key, value, headers)| Record {
            offset,
            timestamp,
            key,
            value,
            headers,
        })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn what_goes_in_comes_out(
        mut records in vec(arbitrary_record(), 1..20),
        code in 0u8..5,
        base in 0i64..1 << 50,
    ) {
        let mut offset = base;
        let mut builder = BatchBuilder::new(base).compression(Compression::from_code(code).unwrap());
        for record in &mut records {
            offset += record.offset;
            record.offset = offset;
            builder.append_record(record);
        }
        let batch = Batch::parse(builder.build().bytes()).unwrap();
        batch.verify_crc().unwrap();
        batch.header().check().unwrap();
        prop_assert_eq!(batch.header().last_offset(), offset);
        let read: Result<Vec<Record>, BatchError> = batch.records().collect();
        prop_assert_eq!(read.as_ref(), Ok(&records));
        let mut shapes = Vec::new();
        batch.scan(&mut Scratch::default(), 1 << 30, |shape| {
            shapes.push((shape.offset_delta, shape.value_bytes));
            ControlFlow::Continue(())
        }).unwrap();
        let length = |blob: &Option<Bytes>| blob.as_ref().map(|blob| blob.len() as u32);
        let expected: Vec<_> =
            records.iter().map(|r| ((r.offset - base) as i32, length(&r.value))).collect();
        prop_assert_eq!(shapes, expected);
    }

    #[test]
    fn headers_round_trip(bytes in vec(any::<u8>(), BATCH_HEADER_BYTES)) {
        let mut bytes = bytes;
        bytes[8..12].copy_from_slice(&1000i32.to_be_bytes());
        bytes[16] = 2;
        let header = BatchHeader::parse(&bytes).unwrap();
        prop_assert_eq!(&header.encode()[..], &bytes[..]);
    }
}
