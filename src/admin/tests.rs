//! A node with HTTP beside it, asked over loopback.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;

use broker::config::StaticConfig;
use broker::node::{NodeConfig, RunningNode};
use broker::server::authorizer::{Authorizer, Quotas};
use bytes::Bytes;
use runtime::Clock;
use runtime::disk::Disk;
use runtime::net::TcpStream;
use types::Prng;

use crate::serve_http;

const ANY_PORT: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 0);

async fn start_node(folder: &tempfile::TempDir) -> RunningNode {
    let mut texts = StaticConfig::embedded(&folder.path().join("logs").display().to_string());
    let listeners: BTreeMap<String, String> = texts
        .iter()
        .filter(|(key, _)| key.ends_with("listeners"))
        .map(|(key, value)| {
            (
                key.clone(),
                value.replace(":9092", ":0").replace(":9093", ":0"),
            )
        })
        .collect();
    texts.extend(listeners);
    let (config, _) = StaticConfig::parse(&texts).expect("the embedded config");
    let (disk, clock) = (Disk::new(), Clock::start());
    let mut prng = Prng::new(1, "format");
    broker::node::format(&disk, &config, None, clock.now(), &mut prng)
        .await
        .expect("formatting");
    let config = NodeConfig {
        config,
        disk,
        clock,
        seed: 1,
        cores: 1,
        open_files_max: 64,
        memory_bytes_max: 1 << 20,
        authorizer: Authorizer::AllowAll,
        quotas: Quotas::Unlimited,
        observer: None,
    };
    broker::node::start(config).await.expect("a node")
}

/// The status line and the whole answer to one GET.
async fn get(address: SocketAddr, path: &str) -> (String, String) {
    let stream = TcpStream::connect(address).await.expect("HTTP listens");
    let request = format!("GET {path} HTTP/1.1\r\nHost: millrace\r\nConnection: close\r\n\r\n");
    stream
        .write_all(&[Bytes::from(request)])
        .await
        .expect("the request is sent");
    let mut answer = Vec::new();
    while stream.read(&mut answer).await.expect("an answer") > 0 {}
    let answer = String::from_utf8(answer).expect("text");
    let status = answer.lines().next().expect("a status").to_owned();
    (status, answer)
}

#[test]
fn a_node_is_measured_and_asked_how_it_is() {
    runtime::task::block_on(async {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let node = start_node(&folder).await;
        let http = serve_http(ANY_PORT, Arc::clone(&node.shared))
            .await
            .expect("HTTP");
        for path in ["/livez", "/readyz"] {
            let (status, answer) = get(http.address(), path).await;
            assert_eq!(status, "HTTP/1.1 200 OK", "{path}: {answer}");
            assert!(answer.ends_with("\r\n\r\nok\n"), "{path}: {answer}");
        }
        node.shared.metrics.traffic.messages_in.add(7);
        let (status, metrics) = get(http.address(), "/metrics").await;
        assert_eq!(status, "HTTP/1.1 200 OK");
        assert!(metrics.contains("content-type: application/openmetrics-text; version=1.0.0"));
        for line in [
            "kafka_server_brokertopicmetrics_messagesin_total 7",
            "kafka_server_replicamanager_partitioncount 0",
            "kafka_server_kafkaserver_brokerstate 3",
            "kafka_controller_kafkacontroller_activecontrollercount 1",
            "kafka_controller_kafkacontroller_activebrokercount 1",
            "kafka_log_logmanager_offlinelogdirectorycount 0",
            "millrace_memory_budget_limit_bytes 1048576",
            "# EOF",
        ] {
            assert!(
                metrics.lines().any(|found| found == line),
                "{line} in {metrics}"
            );
        }
        let (status, _) = get(http.address(), "/nothing").await;
        assert_eq!(status, "HTTP/1.1 404 Not Found");
        let address = http.address();
        http.stop().await;
        assert!(TcpStream::connect(address).await.is_err(), "HTTP has ended");
        node.shared.stop();
        node.ended().await.expect("a clean end");
    });
}

#[test]
fn a_node_that_has_ended_is_neither_live_nor_ready() {
    runtime::task::block_on(async {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let node = start_node(&folder).await;
        let http = serve_http(ANY_PORT, Arc::clone(&node.shared))
            .await
            .expect("HTTP");
        node.shared.stop();
        node.ended().await.expect("a clean end");
        for path in ["/livez", "/readyz"] {
            let (status, answer) = get(http.address(), path).await;
            assert_eq!(status, "HTTP/1.1 503 Service Unavailable", "{path}");
            assert!(
                answer.ends_with("the controller is not available\n"),
                "{answer}"
            );
        }
        http.stop().await;
    });
}

#[test]
fn an_address_in_use_is_an_error_that_names_it() {
    runtime::task::block_on(async {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let node = start_node(&folder).await;
        let http = serve_http(ANY_PORT, Arc::clone(&node.shared))
            .await
            .expect("HTTP");
        let again = serve_http(http.address(), Arc::clone(&node.shared)).await;
        let error = again.err().expect("the address is taken").to_string();
        assert!(
            error.starts_with(&format!("HTTP at {}: ", http.address())),
            "{error}"
        );
        http.stop().await;
        node.shared.stop();
        node.ended().await.expect("a clean end");
    });
}
