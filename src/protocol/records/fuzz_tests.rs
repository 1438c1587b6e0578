//! Harnesses over the parser and the validator of batches, bolero's as those over the decoders of messages: ordinary
//! tests of a bounded number of inputs, or without end (`cargo bolero test records::fuzz_tests::damaged_batches`).
//!
//! Every codec is read piece by piece: whatever a batch claims, reading it takes no more memory than [`peak_bytes_max`].

use std::time::Duration;

use bytes::Bytes;

use super::golden_tests::golden_batches;
use super::hostile_tests::{LIMIT, as_produced, resealed, try_everything};
use super::*;
use crate::counting::peak_bytes;
use crate::mutate::{self, Edit};

/// What `try_everything` may hold at once: the copies that it makes of what it reads, each below the limit, and the
/// codecs' windows.
fn peak_bytes_max(length: usize) -> usize {
    6 * LIMIT as usize + 16 * length
}

fn try_within_bounds(bytes: &Bytes) {
    let ((), peak) = peak_bytes(|| try_everything(bytes, &mut Scratch::default()));
    let allowed = peak_bytes_max(bytes.len());
    assert!(peak <= allowed, "{peak} of {allowed} for {bytes:?}");
}

/// A batch of every codec, and those that Kafka made.
fn sound_batches() -> Vec<Bytes> {
    let mut sound: Vec<Bytes> = Compression::ALL
        .into_iter()
        .map(|compression| {
            let mut builder = BatchBuilder::new(0).compression(compression);
            for index in 0..40u8 {
                let value = [index % 7; 300];
                let headers = [Header {
                    key: Bytes::from_static(b"name"),
                    value: None,
                }];
                builder.append(
                    1000 + i64::from(index),
                    Some(b"key"),
                    Some(&value),
                    &headers,
                );
            }
            builder.build().into_bytes()
        })
        .collect();
    sound.extend(
        golden_batches()
            .iter()
            .map(|(_, batch, _)| as_produced(batch).into()),
    );
    sound
}

#[test]
fn damaged_batches() {
    let sound = sound_batches();
    bolero::check!()
        .with_type::<(u16, bool, Vec<Edit>)>()
        .with_iterations(50_000)
        .with_test_time(Duration::from_secs(20))
        .for_each(|(index, is_sealed, edits)| {
            let bytes = &sound[usize::from(*index) % sound.len()];
            let damaged = mutate::apply(bytes, &edits[..edits.len().min(4)]);
            match is_sealed {
                true => try_within_bounds(&resealed(damaged.to_vec())),
                false => try_within_bounds(&damaged),
            }
        });
}

/// Behind a sound header, the bytes stand for compressed records, or for records that are compressed for the test.
#[test]
fn any_records_of_every_codec() {
    bolero::check!()
        .with_type::<(u8, bool, u8, Vec<u8>)>()
        .with_iterations(50_000)
        .with_test_time(Duration::from_secs(20))
        .for_each(|(code, is_plain, count, payload)| {
            let compression = Compression::ALL[usize::from(*code) % Compression::ALL.len()];
            let count = i32::from(*count % 8) + 1;
            let mut header = *BatchBuilder::new(0).last_offset(0).build().header();
            header.record_count = count;
            header.last_offset_delta = count - 1;
            header.attributes = i16::from(compression.code());
            header.batch_length = BATCH_LENGTH_MIN;
            let records = match (*is_plain, compression) {
                (true, _) | (_, Compression::None) => payload.clone(),
                (false, codec) => compress(codec.into(), payload, Vec::new()),
            };
            try_within_bounds(&resealed([&header.encode()[..], &records].concat()));
        });
}

#[test]
fn a_small_batch_that_is_large_inside_is_read_within_bounds_and_refused() {
    for compression in Compression::ALL {
        if compression == Compression::None {
            continue;
        }
        let mut builder = BatchBuilder::new(0).compression(compression);
        let value = vec![0; 48 << 20];
        builder.append(5, None, Some(&value), &[]);
        let bytes = builder.build().into_bytes();
        drop(value);
        assert!(bytes.len() < 3 << 20, "{compression:?}: {}", bytes.len());
        let batch = Batch::parse(&bytes).expect("a sound batch");
        let (is_read, peak) = peak_bytes(|| batch.records_bounded(LIMIT).all(|r| r.is_ok()));
        assert!(!is_read, "{compression:?}: 48 MiB within 1 MiB");
        assert!(
            peak <= peak_bytes_max(bytes.len()),
            "{compression:?}: {peak}"
        );
        try_within_bounds(&bytes);
    }
}
