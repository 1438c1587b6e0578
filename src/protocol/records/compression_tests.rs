//! Codecs there and back, and against what must not be believed.

use super::compression::{Compressor, Decompressor};
use super::*;
use bytes::Bytes;
use proptest::collection::vec;
use proptest::prelude::*;
use std::io::Read;

fn sample(size: usize) -> Vec<u8> {
    let line = b"{\"user\": 4711, \"action\": \"click\", \"at\": 1700000000000}\n";
    line.iter().copied().cycle().take(size).collect()
}

#[test]
fn every_codec_and_level_round_trips() {
    for compression in Compression::ALL {
        let (low, high) = compression
            .levels()
            .map_or((0, 0), RangeInclusive::into_inner);
        for level in [
            low,
            compression.level_default(),
            high,
            (low.max(0) + high) / 2,
        ] {
            let spec = CompressionSpec::with_level(compression, level).unwrap();
            for size in [0, 1, 100, 32 << 10, (32 << 10) + 1, 64 << 10, 300_000] {
                let plain = sample(size);
                let packed = Bytes::from(compress(spec, &plain, Vec::new()));
                let unpacked = decompress(compression, packed, 1 << 20).unwrap();
                assert_eq!(unpacked, plain, "{spec:?}, {size} bytes");
            }
        }
    }
}

use std::ops::RangeInclusive;

#[test]
fn levels_are_those_of_kafka() {
    let cases = [
        (Compression::Gzip, -1, true),
        (Compression::Gzip, 0, false),
        (Compression::Gzip, 9, true),
        (Compression::Gzip, 10, false),
        (Compression::Lz4, 0, false),
        (Compression::Lz4, 17, true),
        (Compression::Lz4, 18, false),
        (Compression::Zstd, -131_072, true),
        (Compression::Zstd, 22, true),
        (Compression::Zstd, 23, false),
        (Compression::Snappy, 99, true),
    ];
    for (compression, level, allowed) in cases {
        let spec = CompressionSpec::with_level(compression, level);
        assert_eq!(spec.is_ok(), allowed, "{compression:?} {level}");
    }
}

#[test]
fn names_and_codes_round_trip() {
    for compression in Compression::ALL {
        assert_eq!(
            Compression::from_code(compression.code()),
            Some(compression)
        );
        assert_eq!(
            Compression::from_name(compression.name()),
            Some(compression)
        );
    }
    assert_eq!(Compression::from_code(5), None);
    assert_eq!(
        Compression::from_name("uncompressed"),
        Some(Compression::None)
    );
    assert_eq!(Compression::from_name("producer"), None);
}

/// A gibibyte of zeros stops at the limit, after little of it was unpacked.
#[test]
fn bombs_stop_at_the_limit() {
    for compression in &Compression::ALL[1..] {
        let mut compressor = Compressor::open((*compression).into(), Vec::new());
        let zeros = vec![0; 1 << 20];
        for _ in 0..64 {
            compressor.write(&zeros);
        }
        let bomb = Bytes::from(compressor.finish());
        let stopped = decompress(*compression, bomb, 1 << 20);
        assert_eq!(
            stopped,
            Err(BatchError::DecompressedTooLarge {
                limit_bytes: 1 << 20
            })
        );
    }
}

#[test]
fn a_snappy_block_cannot_claim_more_than_it_can_hold() {
    // A bare block that says it holds 4 GiB, and one in a frame.
    let bare = Bytes::from_static(&[0xff, 0xff, 0xff, 0xff, 0x0f, 0, 0]);
    let framed = [b"\x82SNAPPY\0\0\0\0\x01\0\0\0\x01\0\0\0\x07", &bare[..]]
        .concat()
        .into();
    for payload in [bare, framed] {
        let error = decompress(Compression::Snappy, payload, u64::MAX).unwrap_err();
        assert!(
            error.to_string().contains("longer than it can be"),
            "{error}"
        );
    }
}

/// State that a failed or half-read payload leaves behind must not show in the next.
#[test]
fn scratch_is_used_again_whatever_came_before() {
    let mut scratch = Scratch::default();
    for round in 0..3 {
        for compression in Compression::ALL {
            let plain = sample(100_000 + round);
            let packed = Bytes::from(compress(compression.into(), &plain, Vec::new()));
            for cut in [packed.len() / 2, packed.len() - 1, packed.len()] {
                let opened = Decompressor::open(compression, packed.slice(..cut), &mut scratch);
                let Ok(mut source) = opened else { continue };
                let mut unpacked = Vec::new();
                let whole = source.read_to_end(&mut unpacked).is_ok();
                assert!(plain.starts_with(&unpacked), "{compression:?}");
                if compression != Compression::None {
                    assert_eq!(whole, cut == packed.len(), "{compression:?} cut at {cut}");
                }
                source.close(&mut scratch);
            }
            let mut half_read = Decompressor::open(compression, packed, &mut scratch).unwrap();
            half_read.read_exact(&mut [0; 1000]).unwrap();
            half_read.close(&mut scratch);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn pieces_of_any_size_make_one_stream(
        pieces in vec(vec(any::<u8>(), 0..5000), 0..20),
        code in 0u8..5,
    ) {
        let compression = Compression::from_code(code).unwrap();
        let mut compressor = Compressor::open(compression.into(), b"before".to_vec());
        for piece in &pieces {
            compressor.write(piece);
        }
        let out = Bytes::from(compressor.finish());
        prop_assert!(out.starts_with(b"before"));
        let unpacked = decompress(compression, out.slice(6..), 1 << 20).unwrap();
        prop_assert_eq!(&unpacked[..], &pieces.concat()[..]);
    }
}
