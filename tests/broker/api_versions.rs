//! What is served, and what happens to who asks for something else.

use bytes::Bytes;
use protocol::ApiKey;
use protocol::frame::decode_response;
use protocol::messages::{ApiVersionsRequest, EndTxnRequest, MetadataRequest, ProduceRequest};
use types::ErrorCode;

use crate::harness::{Broker, Kafka, batch, code, produce_request, run};

fn named() -> ApiVersionsRequest {
    ApiVersionsRequest {
        client_software_name: "stories".to_owned(),
        client_software_version: "1".to_owned(),
        ..Default::default()
    }
}

#[test]
fn every_route_is_advertised_and_nothing_else() {
    run(async {
        let broker = Broker::new().await;
        let mut kafka = broker.kafka().await;
        for version in 0..=4 {
            let request = match version {
                3.. => named(),
                _ => ApiVersionsRequest::default(),
            };
            let response = kafka.call(version, &request).await;
            assert_eq!(response.error_code, 0);
            let told: Vec<_> = response
                .api_keys
                .iter()
                .map(|api| (api.api_key, api.min_version, api.max_version))
                .collect();
            let routes = broker::handlers::routes();
            let served: Vec<_> = routes
                .iter()
                .map(|route| {
                    let versions = &route.advertised;
                    (route.key.code(), *versions.start(), *versions.end())
                })
                .collect();
            assert_eq!(told, served, "version {version}");
        }
        // librdkafka turns compression off if Produce does not begin at 0.
        assert_eq!(
            routes_of(ApiKey::Produce),
            (0, 13),
            "KAFKA-18659 is about the advertised versions"
        );
        broker.stop().await;
    });
}

fn routes_of(key: ApiKey) -> (i16, i16) {
    let routes = broker::handlers::routes();
    let versions = routes.get(key).expect("it is served").advertised.clone();
    (*versions.start(), *versions.end())
}

#[test]
fn an_unknown_version_of_api_versions_is_answered_in_version_0() {
    run(async {
        let broker = Broker::new().await;
        let mut kafka = broker.kafka().await;
        // Flexible header: key 18, version 99, correlation id 0, client id "x", no tags; then a body of the future.
        let frame: &[u8] = &[
            0, 0, 0, 16, 0, 18, 0, 99, 0, 0, 0, 0, 0, 1, b'x', 0, 1, 2, 3, 4,
        ];
        kafka.raw(&[Bytes::from_static(frame)]).await;
        let answer = kafka.frame().await.expect("an answer");
        let (correlation_id, response) =
            decode_response::<ApiVersionsRequest>(answer, 0).expect("version 0");
        assert_eq!(correlation_id, 0);
        assert_eq!(response.error_code, code(ErrorCode::UnsupportedVersion));
        let own = response
            .api_keys
            .iter()
            .find(|api| api.api_key == ApiKey::ApiVersions.code())
            .expect("the client learns which versions it may use");
        assert_eq!((own.min_version, own.max_version), (0, 4));
        // The connection goes on.
        let mut kafka = broker.kafka().await;
        kafka.raw(&[Bytes::from_static(frame)]).await;
        kafka.frame().await.expect("an answer");
        let answer = kafka.call(4, &named()).await;
        assert_eq!(answer.error_code, 0);
        broker.stop().await;
    });
}

#[test]
fn software_names_must_be_names() {
    run(async {
        let broker = Broker::new().await;
        let mut kafka = broker.kafka().await;
        let mut request = named();
        request.client_software_name = "-not a name".to_owned();
        let response = kafka.call(3, &request).await;
        assert_eq!(response.error_code, code(ErrorCode::InvalidRequest));
        broker.stop().await;
    });
}

#[test]
fn what_is_not_served_closes_the_connection() {
    run(async {
        let broker = Broker::new().await;
        let mut kafka = broker.kafka().await;
        kafka.create("topic", 1, &[]).await;
        let refused: &[(&str, [u8; 4])] = &[
            ("an unknown key", [0x7f, 0, 0, 0]),
            ("a negative key", [0xff, 0xff, 0, 0]),
            ("Metadata version 99", [0, 3, 0, 99]),
            ("Metadata version -1", [0, 3, 0xff, 0xff]),
            ("Fetch version 3", [0, 1, 0, 3]),
            ("Produce version 14", [0, 0, 0, 14]),
        ];
        for (what, start) in refused {
            let mut bad = broker.kafka().await;
            let mut frame = vec![0, 0, 0, 10];
            frame.extend_from_slice(start);
            // A correlation id, and no client id.
            frame.extend_from_slice(&[0, 0, 0, 1, 0xff, 0xff]);
            bad.raw(&[Bytes::from(frame)]).await;
            assert!(bad.is_closed().await, "{what}");
        }
        let mut bad = broker.kafka().await;
        bad.send(5, &EndTxnRequest::default()).await;
        assert!(bad.is_closed().await, "transactions are not served");
        for version in 0..3 {
            assert!(old_produce(&broker, version).await, "Produce v{version}");
        }
        // Nobody else notices.
        kafka.call(13, &MetadataRequest::default()).await;
        assert_eq!(kafka.put("topic", 0, &["a"]).await, 0);
        broker.stop().await;
    });
}

/// Sends a Produce in the layout that versions 0 to 2 had; says whether the connection is closed.
async fn old_produce(broker: &Broker, version: i16) -> bool {
    let mut kafka: Kafka = broker.kafka().await;
    let request: ProduceRequest = produce_request("topic", 0, 1, batch(&["a"]));
    let chunks = protocol::frame::encode_request(&request, 3, 0, None).expect("version 3");
    let mut bytes = Vec::new();
    for chunk in chunks {
        if let protocol::wire::Chunk::Bytes(part) = chunk {
            bytes.extend_from_slice(&part);
        }
    }
    bytes[6..8].copy_from_slice(&version.to_be_bytes());
    // Without the transactional id, two bytes at the body's start, as it was then.
    bytes.drain(14..16);
    let length = i32::try_from(bytes.len() - 4).expect("small");
    bytes[..4].copy_from_slice(&length.to_be_bytes());
    kafka.raw(&[Bytes::from(bytes)]).await;
    kafka.is_closed().await
}
