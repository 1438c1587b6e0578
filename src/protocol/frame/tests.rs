use super::*;
use crate::messages::{ApiVersionsRequest, ApiVersionsResponse, FetchRequest, FetchResponse};

fn bytes_of(chunks: Vec<Chunk>) -> Vec<u8> {
    let parts = chunks.into_iter().map(|chunk| match chunk {
        Chunk::Bytes(bytes) => bytes,
        Chunk::External(_) => panic!("no placeholder was given"),
    });
    parts.flatten().collect()
}

#[test]
fn header_versions_follow_the_body() {
    for (api, version, request, response) in [
        (ApiKey::Fetch, 11, 1, 0),
        (ApiKey::Fetch, 12, 2, 1),
        (ApiKey::SaslHandshake, 1, 1, 0),
        (ApiKey::ApiVersions, 0, 1, 0),
        (ApiKey::ApiVersions, 3, 2, 0),
        (ApiKey::ApiVersions, 4, 2, 0),
        (ApiKey::Produce, 8, 1, 0),
        (ApiKey::Produce, 9, 2, 1),
        (ApiKey::DescribeTopicPartitions, 0, 2, 1),
    ] {
        let place = format!("{api} {version}");
        assert_eq!(
            request_header_version(api.code(), version),
            request,
            "{place}"
        );
        assert_eq!(response_header_version(api, version), response, "{place}");
    }
    // Unknown versions of a known API keep its latest header; unknown APIs have the old one.
    assert_eq!(request_header_version(ApiKey::ApiVersions.code(), 99), 2);
    assert_eq!(request_header_version(999, 3), 1);
}

#[test]
fn a_request_frame_says_length_header_and_body() {
    let request = ApiVersionsRequest {
        client_software_name: "m".into(),
        client_software_version: "1".into(),
        ..Default::default()
    };
    let frame = bytes_of(encode_request(&request, 3, 7, Some("me")).unwrap());
    let want = [
        &[0, 0, 0, 18][..],                              // length
        &[0, 18, 0, 3, 0, 0, 0, 7, 0, 2, b'm', b'e', 0], // header 2: the client's name is never compact
        &[2, b'm', 2, b'1', 0],
    ];
    assert_eq!(frame, want.concat());
    let mut decoder = Decoder::new(Bytes::from(frame).slice(4..));
    let header = RequestHeader::decode(&mut decoder).unwrap();
    assert_eq!(
        (header.api_key, header.api_version, header.correlation_id),
        (18, 3, 7)
    );
    assert_eq!(header.client_id.as_deref(), Some("me"));
    assert_eq!(
        ApiVersionsRequest::decode(&mut decoder, 3).unwrap(),
        request
    );
    decoder.finish().unwrap();
}

#[test]
fn a_response_frame_says_length_header_and_body() {
    let response = ApiVersionsResponse {
        error_code: 35,
        ..Default::default()
    };
    let frame = bytes_of(encode_response(&response, 3, 7).unwrap());
    assert_eq!(frame, [0, 0, 0, 12, 0, 0, 0, 7, 0, 35, 1, 0, 0, 0, 0, 0]);
    let body = Bytes::from(frame).slice(4..);
    assert_eq!(
        decode_response::<ApiVersionsRequest>(body, 3),
        Ok((7, response))
    );

    let frame = bytes_of(encode_response(&FetchResponse::default(), 12, 7).unwrap());
    let body = Bytes::from([&frame[4..], &[0]].concat());
    assert_eq!(
        decode_response::<FetchRequest>(body, 12),
        Err(DecodeError::LeftOver(1))
    );
}

#[test]
fn a_header_cut_short_is_an_error() {
    let frame = bytes_of(encode_request(&ApiVersionsRequest::default(), 3, 7, Some("me")).unwrap());
    for length in 0..13 {
        let cut = Bytes::copy_from_slice(&frame[4..4 + length]);
        assert!(
            RequestHeader::decode(&mut Decoder::new(cut)).is_err(),
            "{length}"
        );
    }
}

#[test]
fn apis_are_found_by_their_keys() {
    for api in ApiKey::ALL {
        assert_eq!(ApiKey::from_code(api.code()), Some(*api));
        assert!(!api.versions().is_empty(), "{api}");
    }
    assert_eq!(ApiKey::ALL.len(), 89);
    for dead in [-1, 4, 5, 6, 7, 999] {
        assert_eq!(ApiKey::from_code(dead), None);
    }
    assert_eq!(ApiKey::Fetch.name(), "Fetch");
    assert_eq!(ApiKey::Fetch.versions(), 4..=18);
    assert!(ApiKey::InitProducerId.is_latest_unstable());
    assert!(ApiKey::Fetch.on_brokers() && ApiKey::Fetch.on_controllers());
    assert!(!ApiKey::Vote.on_brokers() && ApiKey::Vote.on_controllers());
}
