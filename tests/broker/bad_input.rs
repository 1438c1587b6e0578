//! Bytes that are no requests, and clients that are slow or silent: nobody else notices, nothing is lost.

use std::time::Duration;

use bytes::Bytes;
use protocol::Request;
use protocol::frame::{decode_response, encode_request};
use protocol::messages::{
    ApiVersionsRequest, FindCoordinatorRequest, JoinGroupRequest, ListGroupsRequest,
    ListOffsetsRequest, MetadataRequest, OffsetCommitRequest, OffsetFetchRequest, ProduceRequest,
};
use protocol::wire::Chunk;
use types::Prng;

use crate::harness::{
    Broker, Kafka, Options, batch, create_request, fetch_request, metadata_request, only,
    produce_request, run,
};

fn encoded<R: Request>(version: i16, request: &R) -> Vec<u8> {
    let chunks = encode_request(request, version, 1, Some("bad")).expect("a request");
    let mut bytes = Vec::new();
    for chunk in chunks {
        match chunk {
            Chunk::Bytes(part) => bytes.extend_from_slice(&part),
            Chunk::External(_) => panic!("requests hold their bytes"),
        }
    }
    bytes
}

/// Good frames that do no harm whatever becomes of them.
fn seeds() -> Vec<Vec<u8>> {
    vec![
        encoded(3, &ApiVersionsRequest::default()),
        encoded(1, &metadata_request("junk", true)),
        encoded(12, &metadata_request("junk", true)),
        encoded(12, &MetadataRequest::default()),
        encoded(3, &produce_request("junk", 0, 1, batch(&["a", "b"]))),
        encoded(9, &produce_request("junk", 0, -1, batch(&["a", "b"]))),
        encoded(4, &fetch_request("junk", &[(0, 0)])),
        encoded(12, &fetch_request("junk", &[(0, 0), (1, 0)])),
        encoded(7, &create_request("junk", 1, &[("retention.ms", "1000")])),
        encoded(9, &JoinGroupRequest::default()),
        encoded(4, &FindCoordinatorRequest::default()),
        encoded(8, &OffsetCommitRequest::default()),
        encoded(8, &OffsetFetchRequest::default()),
        encoded(8, &ListOffsetsRequest::default()),
        encoded(5, &ListGroupsRequest::default()),
    ]
}

/// Changes some bytes behind the frame's length, or the length, or cuts the frame.
fn mutate(prng: &mut Prng, frame: &mut Vec<u8>) {
    match prng.below(10) {
        0 => {
            let length = prng.below(frame.len() as u64) as usize;
            frame.truncate(length);
        }
        1 => {
            let length = (prng.next_u64() as u32).to_be_bytes();
            frame[..4].copy_from_slice(&length);
        }
        2 => {
            let at = 6 + prng.below(frame.len() as u64 - 6) as usize;
            frame.insert(at, prng.next_u64() as u8);
            let length = (frame.len() as u32 - 4).to_be_bytes();
            frame[..4].copy_from_slice(&length);
        }
        _ => {
            for _ in 0..=prng.below(4) {
                // Not the API: another one might delete what is to be kept.
                let at = 6 + prng.below(frame.len() as u64 - 6) as usize;
                frame[at] = match prng.below(4) {
                    0 => 0xff,
                    1 => 0,
                    2 => 0x7f,
                    _ => prng.next_u64() as u8,
                };
            }
        }
    }
}

#[test]
fn mutated_and_random_frames_harm_nobody() {
    run(async {
        let broker = Broker::new().await;
        let mut healthy = broker.kafka().await;
        healthy.create("kept", 1, &[]).await;
        let mut prng = Prng::new(20_261_121, "frames");
        let seeds = seeds();
        let mut kept = Vec::new();
        for round in 0..1500_u64 {
            let mut frame = seeds[prng.below(seeds.len() as u64) as usize].clone();
            match round % 10 {
                9 => {
                    let length = prng.below(100) as usize;
                    frame = (0..length).map(|_| prng.next_u64() as u8).collect();
                    // A random key may be one that deletes: this one is not served.
                    if let Some(key) = frame.get_mut(4..6) {
                        key.copy_from_slice(&[0x7f, 0xff]);
                    }
                }
                _ => mutate(&mut prng, &mut frame),
            }
            let mut bad = broker.kafka().await;
            // The node may close while this is written.
            let _ = bad.try_raw(&[Bytes::from(frame)]).await;
            if round % 7 == 0 {
                bad.frame_within(Duration::from_millis(1)).await;
            }
            if round % 50 == 0 {
                let value = round.to_string();
                healthy.put("kept", 0, &[&value]).await;
                kept.push(value);
            }
        }
        assert_eq!(healthy.all_values("kept", 0).await, kept);
        // A core that panicked would show itself here.
        let broker = broker.stop().await.start().await;
        let mut kafka = broker.kafka().await;
        assert_eq!(kafka.all_values("kept", 0).await, kept);
        broker.stop().await;
    });
}

#[test]
fn lengths_that_cannot_be_close_the_connection() {
    run(async {
        let options = Options::default().with("socket.request.max.bytes", "100000");
        let broker = Broker::with(options).await;
        for length in [-1_i32, i32::MIN, 0, 7, 100_001, i32::MAX] {
            let mut bad = broker.kafka().await;
            let frame = Bytes::copy_from_slice(&length.to_be_bytes());
            bad.raw(&[frame]).await;
            assert!(bad.is_closed().await, "length {length}");
        }
        // Bytes left behind a request are nobody's business, as in Kafka.
        let mut frame = encoded(0, &ApiVersionsRequest::default());
        frame.push(0);
        frame[3] += 1;
        let mut odd = broker.kafka().await;
        odd.raw(&[Bytes::from(frame)]).await;
        assert!(odd.frame().await.is_some());
        broker.stop().await;
    });
}

#[test]
fn what_came_before_a_bad_frame_is_answered() {
    run(async {
        let broker = Broker::new().await;
        let mut healthy = broker.kafka().await;
        healthy.create("topic", 1, &[]).await;
        let length = |length: i32| length.to_be_bytes().to_vec();
        let mut unknown = encoded(0, &ApiVersionsRequest::default());
        unknown[4..6].copy_from_slice(&[0x7f, 0xff]);
        let mut cut = encoded(9, &produce_request("topic", 0, -1, batch(&["cut"])));
        cut.truncate(40);
        cut[..4].copy_from_slice(&36_i32.to_be_bytes());
        let acks_0 = encoded(9, &produce_request("absent", 0, 0, batch(&["refused"])));
        for (n, bad) in [length(-1), length(i32::MAX), unknown, cut, acks_0]
            .into_iter()
            .enumerate()
        {
            // The first waits for the disk, the second does not, the last is behind the bad one.
            let produce = produce_request("topic", 0, -1, batch(&["kept"]));
            let all = [
                encoded(9, &produce),
                encoded(12, &metadata_request("topic", false)),
                bad,
                encoded(12, &metadata_request("topic", false)),
            ];
            let mut kafka = broker.kafka().await;
            kafka.raw(&[Bytes::from(all.concat())]).await;
            let frame = kafka.frame().await.expect("the first is answered");
            let (_, response) = decode_response::<ProduceRequest>(frame, 9).expect("an answer");
            let answer = only(response);
            assert_eq!((answer.error_code, answer.base_offset), (0, n as i64));
            let frame = kafka.frame().await.expect("the second is answered");
            let (_, response) = decode_response::<MetadataRequest>(frame, 12).expect("an answer");
            assert_eq!(response.topics[0].error_code, 0);
            assert!(kafka.is_closed().await, "after bad frame {n}");
        }
        broker.stop().await;
    });
}

#[test]
fn a_request_in_pieces_is_a_request() {
    run(async {
        let broker = Broker::new().await;
        let mut kafka = broker.kafka().await;
        kafka.create("topic", 1, &[]).await;
        let mut slow = broker.kafka().await;
        let frame = encoded(0, &ApiVersionsRequest::default());
        for &byte in &frame[..frame.len() - 1] {
            slow.raw(&[Bytes::copy_from_slice(&[byte])]).await;
            runtime::task::yield_now().await;
        }
        // Others are served in between.
        kafka.put("topic", 0, &["a"]).await;
        slow.raw(&[Bytes::copy_from_slice(&frame[frame.len() - 1..])])
            .await;
        assert!(slow.frame().await.is_some());
        broker.stop().await;
    });
}

#[test]
fn a_full_budget_holds_large_requests_back_and_no_small_ones() {
    run(async {
        let options = Options {
            memory_bytes_max: 1 << 20,
            ..Options::default()
        };
        let broker = Broker::with(options).await;
        let mut healthy = broker.kafka().await;
        healthy.create("topic", 1, &[]).await;
        // Each holds most of a request that does not end: together far more than the budget.
        let mut silent = Vec::new();
        for _ in 0..20 {
            let kafka = broker.kafka().await;
            let mut start = vec![0; 300_000];
            start[..4].copy_from_slice(&(10_u32 << 20).to_be_bytes());
            let stream = kafka.stream().clone();
            // What the node does not take stays in the kernel.
            runtime::task::spawn_local(async move {
                let _ = stream.write_all(&[Bytes::from(start)]).await;
            });
            silent.push(kafka);
        }
        for n in 0..50 {
            assert_eq!(healthy.put("topic", 0, &["small"]).await, n);
        }
        // The silent ones leave: what waited for room goes on.
        let large = "x".repeat(900_000);
        let mut waiting = broker.kafka().await;
        let request = produce_request("topic", 0, -1, batch(&[&large]));
        drop(silent);
        let answer = waiting.call(9, &request).await;
        assert_eq!(answer.responses[0].partition_responses[0].error_code, 0);
        broker.stop().await;
    });
}

#[test]
fn who_breaks_off_leaves_nothing_behind() {
    run(async {
        let broker = Broker::new().await;
        let mut healthy = broker.kafka().await;
        healthy.create("topic", 1, &[]).await;
        let frame = encoded(9, &produce_request("topic", 0, -1, batch(&["half"])));
        for cut in 1..frame.len() {
            let mut half = broker.kafka().await;
            half.raw(&[Bytes::copy_from_slice(&frame[..cut])]).await;
        }
        // A poll that waits for long, and nobody who listens.
        let mut gone: Vec<Kafka> = Vec::new();
        for _ in 0..50 {
            let mut kafka = broker.kafka().await;
            let mut request = fetch_request("topic", &[(0, 0)]);
            request.max_wait_ms = i32::MAX;
            kafka.send(12, &request).await;
            gone.push(kafka);
        }
        drop(gone);
        assert_eq!(healthy.put("topic", 0, &["whole"]).await, 0);
        assert_eq!(healthy.all_values("topic", 0).await, ["whole"]);
        broker.stop().await;
    });
}
