//! Bytes from an enemy: never a panic, never more memory than the limit.

use super::golden_tests::golden_batches;
use super::validate::{ProducePolicy, TargetCompression, validate_produce};
use super::*;
use bytes::Bytes;
use proptest::collection::vec;
use proptest::prelude::*;
use std::ops::ControlFlow;
use types::Wall;

pub(super) const LIMIT: u64 = 1 << 20;

/// Everything that takes bytes from outside is tried on these.
pub(super) fn try_everything(bytes: &Bytes, scratch: &mut Scratch) {
    for batch in batches(bytes.clone()) {
        let Ok(batch) = batch else { break };
        let header = batch.header();
        let _checked = (batch.verify_crc(), header.check(), header.last_sequence());
        let mut read = 0;
        for record in batch.records_bounded(LIMIT) {
            read += record.map_or(0, |record| record.key.map_or(0, |key| key.len() as u64));
        }
        assert!(read <= LIMIT + bytes.len() as u64);
        let scanned = batch.scan(scratch, LIMIT, |_| ControlFlow::Continue(()));
        let walked = batch.records_bounded(LIMIT).all(|record| record.is_ok());
        assert_eq!(scanned.is_ok(), walked, "both readers agree on {bytes:?}");
    }
    for compression in [
        TargetCompression::Producer,
        TargetCompression::Codec(Compression::Zstd.into()),
    ] {
        let policy = ProducePolicy {
            max_message_bytes: 1 << 20,
            segment_bytes: 1 << 20,
            timestamp_type: TimestampType::LogAppendTime,
            timestamp_before_max_ms: i64::MAX,
            timestamp_after_max_ms: i64::MAX,
            compression,
            compact: false,
            decompressed_bytes_max: LIMIT,
        };
        let now = Wall::from_millis(5);
        if let Ok(validated) = validate_produce(now, &policy, scratch, bytes, 9) {
            assert!(validated.size_bytes() <= 1 << 20);
            let written = Bytes::from(validated.chunks_at(77, 1).concat());
            let batch = Batch::parse(&written).expect("what is accepted is a batch");
            batch.verify_crc().expect("its checksum is right");
            batch.header().check().expect("its header is sound");
            let offsets = batch
                .records()
                .map(|record| record.expect("it is readable").offset);
            assert!(offsets.eq(77..77 + i64::from(validated.record_count)));
        }
    }
}

/// Puts the right length and checksum on bytes, so that the checks behind them are reached.
pub(super) fn resealed(mut bytes: Vec<u8>) -> Bytes {
    if let Ok(mut header) = BatchHeader::parse(&bytes) {
        header.batch_length = (bytes.len() - LOG_OVERHEAD_BYTES) as i32;
        header.set_crc(&bytes[BATCH_HEADER_BYTES..]);
        bytes[..BATCH_HEADER_BYTES].copy_from_slice(&header.encode());
    }
    bytes.into()
}

/// What a client would send: base offset 0, no flags but the codec.
pub(super) fn as_produced(batch: &Batch) -> Vec<u8> {
    let mut header = *batch.header();
    header.base_offset = 0;
    header.attributes &= attribute::COMPRESSION;
    let mut bytes = batch.bytes().to_vec();
    bytes[..BATCH_HEADER_BYTES].copy_from_slice(&header.encode());
    bytes
}

#[test]
fn every_byte_of_every_golden_batch_changed_or_cut() {
    let mut scratch = Scratch::default();
    for (_, batch, _) in golden_batches() {
        let bytes = as_produced(&batch);
        let step = 1 + bytes.len() / 400;
        for at in (0..bytes.len()).step_by(step) {
            for value in [
                0,
                0xff,
                bytes[at] ^ 1,
                bytes[at].wrapping_add(1),
                bytes[at] ^ 0x80,
            ] {
                let mut changed = bytes.clone();
                changed[at] = value;
                try_everything(&changed.clone().into(), &mut scratch);
                try_everything(&resealed(changed), &mut scratch);
            }
            try_everything(&bytes[..at].to_vec().into(), &mut scratch);
            try_everything(&resealed(bytes[..at].to_vec()), &mut scratch);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 3000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_bytes(bytes in vec(any::<u8>(), 0..300)) {
        try_everything(&bytes.into(), &mut Scratch::default());
    }

    #[test]
    fn any_records_behind_a_sound_header(
        records in vec(prop_oneof![3 => 0u8..20, 1 => any::<u8>()], 0..200),
        count in 1i32..6,
        code in 0u8..8,
    ) {
        let mut header = *BatchBuilder::new(0).last_offset(0).build().header();
        header.record_count = count;
        header.last_offset_delta = count - 1;
        header.attributes = i16::from(code);
        header.batch_length = BATCH_LENGTH_MIN;
        let bytes = [&header.encode()[..], &records].concat();
        try_everything(&resealed(bytes), &mut Scratch::default());
    }

    #[test]
    fn any_payload_after_the_start_of_a_stream(
        code in 1u8..5,
        kept in 0usize..40,
        tail in vec(any::<u8>(), 0..100),
    ) {
        let compression = Compression::from_code(code).unwrap();
        let mut payload = compress(compression.into(), &[7; 500], Vec::new());
        payload.truncate(kept);
        payload.extend_from_slice(&tail);
        if let Ok(plain) = decompress(compression, payload.into(), LIMIT) {
            prop_assert!(plain.len() as u64 <= LIMIT);
        }
    }

    #[test]
    fn golden_batches_with_several_bytes_changed(
        which in any::<prop::sample::Index>(),
        changes in vec((any::<prop::sample::Index>(), any::<u8>()), 1..5),
    ) {
        let golden = golden_batches();
        let mut bytes = as_produced(&golden[which.index(golden.len())].1);
        for (at, value) in changes {
            let at = BATCH_PREFIX_BYTES + at.index(bytes.len() - BATCH_PREFIX_BYTES);
            bytes[at] = value;
        }
        try_everything(&resealed(bytes), &mut Scratch::default());
    }
}
