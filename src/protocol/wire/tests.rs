use bytes::Bytes;

use super::*;
use crate::counting;
use crate::messages::{
    ApiVersionsResponse, FetchResponse, ProduceRequest, fetch_response as fetch,
};
use crate::messages::{HeartbeatRequest, MetadataRequest};

fn decoder(bytes: &[u8]) -> Decoder {
    Decoder::new(Bytes::copy_from_slice(bytes))
}

#[test]
fn variable_length_numbers() {
    for (value, bytes) in [
        (0u32, &[0x00][..]),
        (1, &[0x01]),
        (127, &[0x7f]),
        (128, &[0x80, 0x01]),
        (16_384, &[0x80, 0x80, 0x01]),
        (u32::MAX, &[0xff, 0xff, 0xff, 0xff, 0x0f]),
    ] {
        let mut encoder = Encoder::new();
        encoder.unsigned_varint(value);
        assert_eq!(encoder.into_bytes(), bytes, "{value}");
        assert_eq!(decoder(bytes).unsigned_varint(), Ok(value));
    }
    for value in [0, -1, 1, 63, -64, 64, i32::MAX, i32::MIN] {
        let mut encoder = Encoder::new();
        encoder.varint(value);
        encoder.varlong(i64::from(value));
        encoder.varlong(i64::MIN);
        encoder.varlong(i64::MAX);
        let mut decoder = Decoder::new(encoder.into_bytes());
        assert_eq!(decoder.varint(), Ok(value));
        assert_eq!(decoder.varlong(), Ok(i64::from(value)));
        assert_eq!(decoder.varlong(), Ok(i64::MIN));
        assert_eq!(decoder.varlong(), Ok(i64::MAX));
    }
    for bytes in [&[0xff; 6][..], &[0xff, 0xff, 0xff, 0xff, 0x10]] {
        assert_eq!(decoder(bytes).unsigned_varint(), Err(DecodeError::Varint));
    }
    assert_eq!(decoder(&[0xff; 11]).varlong(), Err(DecodeError::Varint));
    let truncated = DecodeError::Truncated {
        needed: 1,
        remaining: 0,
    };
    assert_eq!(decoder(&[0x80]).unsigned_varint(), Err(truncated));
}

#[test]
fn wrong_lengths_of_strings_and_bytes() {
    assert_eq!(
        decoder(&[0xff, 0xfe]).nullable_string(false),
        Err(DecodeError::Length(-2))
    );
    assert_eq!(decoder(&[0xff, 0xff]).string(false), Err(DecodeError::Null));
    assert_eq!(decoder(&[0]).string(true), Err(DecodeError::Null));
    assert_eq!(
        decoder(&[0, 2, 0xc3, 0x28]).string(false),
        Err(DecodeError::Utf8)
    );
    let truncated = Err(DecodeError::Truncated {
        needed: 3,
        remaining: 1,
    });
    assert_eq!(decoder(&[0, 3, b'a']).string(false), truncated);
    let truncated = Err(DecodeError::Truncated {
        needed: 32_767,
        remaining: 0,
    });
    assert_eq!(decoder(&[0x80, 0x80, 2]).string(true), truncated);
    assert_eq!(
        decoder(&[0x81, 0x80, 2]).string(true),
        Err(DecodeError::Length(32_768))
    );
    assert_eq!(
        decoder(&[0xff, 0xff, 0xff, 0xfe]).bytes(false),
        Err(DecodeError::Length(-2))
    );
    assert_eq!(decoder(&[0xff; 4]).nullable_bytes(false), Ok(None));
}

#[test]
fn arrays_are_bounded_before_anything_is_allocated() {
    let too_many = DecodeError::TooMany {
        count: 1_000_001,
        max: ARRAY_ELEMENTS_MAX,
    };
    let mut bytes = vec![0x00, 0x0f, 0x42, 0x41];
    bytes.resize(2_000_000, 0);
    assert_eq!(decoder(&bytes).array::<i8>(false, 0), Err(too_many));
    let truncated = DecodeError::Truncated {
        needed: 8,
        remaining: 7,
    };
    assert_eq!(
        decoder(&[0, 0, 0, 2, 1, 2, 3, 4, 5, 6, 7]).array::<i32>(false, 0),
        Err(truncated)
    );
    // The twelve bytes that bring down a decoder which believes the length.
    let produce = [
        0xff, 0xff, 0xff, 0xff, 0xff, 0x01, 0, 0, 0x75, 0x30, 0xff, 0xff,
    ];
    let (result, peak) = counting::peak_bytes(|| ProduceRequest::decode(&mut decoder(&produce), 9));
    assert!(result.is_err());
    assert!(peak < 4096, "{peak}");
}

/// Nested arrays that each claim all that remains are stopped by the budget of the whole message.
#[test]
fn nested_claims_share_one_budget() {
    struct Nest(Vec<Nest>);
    impl Part for Nest {
        const SIZE_BYTES_MIN: usize = 4;
        fn read(decoder: &mut Decoder, version: i16) -> Result<Nest, DecodeError> {
            decoder.array(false, version).map(Nest)
        }
        fn write(&self, encoder: &mut Encoder, version: i16) -> Result<(), EncodeError> {
            encoder.array(&self.0, false, version)
        }
    }
    let mut bytes = Vec::new();
    for depth in 0..1000u32 {
        bytes.extend_from_slice(&(10_000 - depth - 1).to_be_bytes());
    }
    bytes.resize(40_000, 0);
    let (result, peak) = counting::peak_bytes(|| Nest::read(&mut decoder(&bytes), 0).map(drop));
    assert_eq!(result, Err(DecodeError::Budget));
    assert!(peak < 2 << 20, "{peak}");
}

#[test]
fn memory_is_counted_and_can_be_limited() {
    // Two strings of three bytes in a list.
    let bytes = [0, 0, 0, 2, 0, 3, b'a', b'b', b'c', 0, 3, b'd', b'e', b'f'];
    let mut free = decoder(&bytes);
    free.strings(false).unwrap();
    let takes = 2 * size_of::<String>() + 6;
    assert_eq!(free.memory_bytes(), takes);
    for (limit, fits) in [(takes, true), (takes - 1, false), (0, false)] {
        let mut limited = decoder(&bytes);
        limited.limit_memory(limit);
        assert_eq!(limited.strings(false).is_ok(), fits, "{limit}");
    }
}

#[test]
fn tagged_fields_are_kept_ordered_and_measured() {
    let mut encoder = Encoder::new();
    let heartbeat = HeartbeatRequest {
        unknown_tagged_fields: vec![(9, Bytes::from_static(b"x"))],
        ..Default::default()
    };
    heartbeat.encode(&mut encoder, 4).unwrap();
    let bytes = encoder.into_bytes();
    assert_eq!(bytes, [1, 0, 0, 0, 0, 1, 0, 1, 9, 1, b'x'][..]);
    let again = HeartbeatRequest::decode(&mut Decoder::new(bytes), 4).unwrap();
    assert_eq!(again, heartbeat);
    // A version without tagged fields cannot carry them.
    let refused = heartbeat.encode(&mut Encoder::new(), 3);
    assert!(
        matches!(refused, Err(EncodeError::FieldNotInVersion { .. })),
        "{refused:?}"
    );

    let head = [1, 0, 0, 0, 0, 1, 0];
    for (tags, want) in [
        (&[2, 9, 0, 9, 0][..], DecodeError::TagOrder { tag: 9 }),
        (&[2, 9, 0, 8, 0], DecodeError::TagOrder { tag: 8 }),
        (
            &[1, 9, 5, 0],
            DecodeError::Truncated {
                needed: 5,
                remaining: 1,
            },
        ),
        (
            &[0x91, 0x4e, 0],
            DecodeError::TooMany {
                count: 10_001,
                max: TAGGED_FIELDS_MAX,
            },
        ),
        (
            &[5, 9, 0],
            DecodeError::Truncated {
                needed: 10,
                remaining: 2,
            },
        ),
    ] {
        let bytes = [&head[..], tags].concat();
        assert_eq!(
            HeartbeatRequest::decode(&mut decoder(&bytes), 4),
            Err(want),
            "{tags:?}"
        );
    }
    // A known tag (ApiVersions: finalized features epoch, eight bytes) longer or shorter than it says.
    for size in [7, 9] {
        let bytes = [&[0, 0, 1, 0, 0, 0, 0, 1, 1, size][..], &[0; 9]].concat();
        assert!(
            ApiVersionsResponse::decode(&mut decoder(&bytes), 3).is_err(),
            "{size}"
        );
    }
}

#[test]
fn a_field_that_the_version_lacks_is_refused_unless_ignorable_or_default() {
    let heartbeat = HeartbeatRequest {
        group_instance_id: Some("i".into()),
        ..Default::default()
    };
    let field = "HeartbeatRequest.group_instance_id";
    let refused = heartbeat.encode(&mut Encoder::new(), 2);
    assert_eq!(
        refused,
        Err(EncodeError::FieldNotInVersion { field, version: 2 })
    );
    heartbeat.encode(&mut Encoder::new(), 3).unwrap();
    HeartbeatRequest::default()
        .encode(&mut Encoder::new(), 2)
        .unwrap();
    // Ignorable: the throttle time that old answers cannot carry.
    let response = ApiVersionsResponse {
        throttle_time_ms: 5,
        ..Default::default()
    };
    response.encode(&mut Encoder::new(), 0).unwrap();
    // Null where the version cannot say it: all topics is an empty list in Metadata 0.
    let all_topics = MetadataRequest {
        topics: None,
        ..Default::default()
    };
    let refused = all_topics.encode(&mut Encoder::new(), 0);
    let field = "MetadataRequest.topics";
    assert_eq!(
        refused,
        Err(EncodeError::NullNotInVersion { field, version: 0 })
    );
    let refused = all_topics.encode(&mut Encoder::new(), 99);
    assert_eq!(
        refused,
        Err(EncodeError::Version {
            name: "MetadataRequest",
            version: 99
        })
    );
}

fn fetch_of(records: Vec<Records>) -> FetchResponse {
    let partitions = records.into_iter().map(|records| fetch::PartitionData {
        records: Some(records),
        ..Default::default()
    });
    let topic = fetch::FetchableTopicResponse {
        partitions: partitions.collect(),
        ..Default::default()
    };
    FetchResponse {
        responses: vec![topic],
        ..Default::default()
    }
}

#[test]
fn records_are_neither_copied_nor_needed() {
    let batch = Bytes::from(vec![7u8; 4096]);
    let external = External {
        slot: 3,
        length_bytes: 1_000_000,
    };
    let small = Bytes::from_static(b"few");
    let response = fetch_of(vec![
        Records::Bytes(batch.clone()),
        Records::External(external),
        Records::Bytes(small),
    ]);
    let chunks = crate::frame::encode_response(&response, 12, 77).unwrap();
    let total: usize = chunks.iter().map(Chunk::length_bytes).sum();
    let [
        Chunk::Bytes(head),
        Chunk::Bytes(own),
        Chunk::Bytes(_),
        Chunk::External(placed),
        Chunk::Bytes(_),
    ] = &chunks[..]
    else {
        panic!("{chunks:?}");
    };
    assert_eq!(own.as_ptr(), batch.as_ptr(), "the batch was copied");
    assert_eq!(*placed, external);
    let length = u32::from_be_bytes(head[..4].try_into().unwrap());
    assert_eq!(length as usize, total - 4);

    // With the placeholder replaced, the frame says what went in, and its records are views of it.
    let mut frame = Vec::new();
    for chunk in chunks {
        match chunk {
            Chunk::Bytes(bytes) => frame.extend_from_slice(&bytes),
            Chunk::External(external) => {
                frame.resize(frame.len() + external.length_bytes as usize, 9)
            }
        }
    }
    let frame = Bytes::from(frame).slice(4..);
    let (correlation_id, again) =
        crate::frame::decode_response::<crate::messages::FetchRequest>(frame.clone(), 12).unwrap();
    assert_eq!(correlation_id, 77);
    let Some(Records::Bytes(records)) = &again.responses[0].partitions[1].records else {
        panic!("no records");
    };
    assert_eq!(records.len(), 1_000_000);
    assert!(
        frame.as_ptr_range().contains(&records.as_ptr()),
        "the records were copied"
    );
}

#[test]
fn a_produce_request_takes_an_allocation_for_each_list_and_name_only() {
    let records = Bytes::from(vec![1u8; 100_000]);
    let request = ProduceRequest {
        topic_data: vec![crate::messages::produce_request::TopicProduceData {
            name: "topic".into(),
            partition_data: vec![crate::messages::produce_request::PartitionProduceData {
                records: Some(Records::Bytes(records)),
                ..Default::default()
            }],
            ..Default::default()
        }],
        ..Default::default()
    };
    let bytes = encode_to_bytes(&request, 9).unwrap();
    let (again, allocations) =
        counting::allocations(|| ProduceRequest::decode(&mut Decoder::new(bytes), 9));
    assert_eq!(again.unwrap(), request);
    assert!(allocations <= 3 + 1, "{allocations}");
}
