//! What `/metrics` says after a client has done this and that.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;

use bytes::Bytes;
use runtime::net::TcpStream;
use types::ErrorCode;

use crate::harness::{Broker, Kafka, PATIENCE, batch, produce_request, run};

const ANY_PORT: &str = "127.0.0.1:0";

/// Every figure by its name with its labels, and every announced name.
async fn scrape(address: SocketAddr) -> (BTreeMap<String, f64>, Vec<String>) {
    let stream = TcpStream::connect(address).await.expect("HTTP listens");
    let request = Bytes::from_static(b"GET /metrics HTTP/1.0\r\n\r\n");
    stream.write_all(&[request]).await.expect("a request");
    let mut answer = Vec::new();
    while stream.read(&mut answer).await.expect("an answer") > 0 {}
    let answer = String::from_utf8(answer).expect("text");
    let (_, body) = answer.split_once("\r\n\r\n").expect("a body");
    let (mut figures, mut names) = (BTreeMap::new(), Vec::new());
    for line in body.lines() {
        if let Some(announced) = line.strip_prefix("# TYPE ") {
            names.extend(announced.split(' ').next().map(str::to_owned));
        } else if !line.starts_with('#') {
            let (name, value) = line.rsplit_once(' ').expect("a value");
            let value = value.parse().expect("a number");
            let before = figures.insert(name.to_owned(), value);
            assert_eq!(before, None, "{name} is there twice");
        }
    }
    (figures, names)
}

/// Appends, is refused and reads; gives the length of the batch in topic one.
async fn do_this_and_that(kafka: &mut Kafka) -> f64 {
    kafka.create("one", 2, &[]).await;
    kafka.create("two", 1, &[]).await;
    let records = batch(&["a", "b", "c"]);
    let length_bytes = records.len() as f64;
    assert_eq!(kafka.produce("one", 1, records).await.error_code, 0);
    kafka.put("two", 0, &["d"]).await;
    // Refused by the batch's own check, and by there being no such partition.
    let torn = kafka.produce("one", 0, Bytes::from_static(b"torn")).await;
    assert_ne!(torn.error_code, 0);
    let missing = kafka.produce("one", 7, batch(&["x"])).await;
    assert_eq!(
        missing.error_code,
        ErrorCode::UnknownTopicOrPartition.code()
    );
    kafka.fetch("one", 1, 0).await;
    kafka.fetch("one", 1, 9).await;
    length_bytes
}

#[test]
fn traffic_requests_logs_and_groups_are_counted() {
    run(async {
        let broker = Broker::new().await;
        let address = ANY_PORT.parse().expect("an address");
        let http = admin::serve_http(address, Arc::clone(&broker.node.shared));
        let http = http.await.expect("HTTP");
        let mut kafka = broker.kafka().await;
        let length_bytes = do_this_and_that(&mut kafka).await;
        let (figures, names) = scrape(http.address()).await;
        for (name, expected) in [
            ("kafka_server_brokertopicmetrics_messagesin_total", 4.0),
            (
                "kafka_server_brokertopicmetrics_messagesin_total{topic=\"one\"}",
                3.0,
            ),
            (
                "kafka_server_brokertopicmetrics_messagesin_total{topic=\"two\"}",
                1.0,
            ),
            (
                "kafka_server_brokertopicmetrics_bytesin_total{topic=\"one\"}",
                length_bytes,
            ),
            (
                "kafka_server_brokertopicmetrics_bytesout_total{topic=\"one\"}",
                length_bytes,
            ),
            (
                "kafka_server_brokertopicmetrics_bytesout_total{topic=\"two\"}",
                0.0,
            ),
            (
                "kafka_server_brokertopicmetrics_totalproducerequests_total",
                4.0,
            ),
            (
                "kafka_server_brokertopicmetrics_failedproducerequests_total{topic=\"one\"}",
                2.0,
            ),
            (
                "kafka_server_brokertopicmetrics_totalfetchrequests_total{topic=\"one\"}",
                2.0,
            ),
            (
                "kafka_server_brokertopicmetrics_failedfetchrequests_total",
                1.0,
            ),
            (
                "kafka_network_requestmetrics_requests_total{request=\"Produce\",version=\"12\"}",
                4.0,
            ),
            (
                "kafka_network_requestmetrics_requests_total{request=\"FetchConsumer\",version=\"12\"}",
                2.0,
            ),
            (
                "kafka_network_requestmetrics_totaltimems_count{request=\"Produce\"}",
                4.0,
            ),
            (
                "kafka_network_requestmetrics_localtimems_count{request=\"CreateTopics\"}",
                2.0,
            ),
            (
                "kafka_log_log_logendoffset{topic=\"one\",partition=\"1\"}",
                3.0,
            ),
            (
                "kafka_log_log_logstartoffset{topic=\"one\",partition=\"1\"}",
                0.0,
            ),
            (
                "kafka_log_log_size{topic=\"one\",partition=\"1\"}",
                length_bytes,
            ),
            ("kafka_log_log_size{topic=\"one\",partition=\"0\"}", 0.0),
            (
                "kafka_log_log_numlogsegments{topic=\"two\",partition=\"0\"}",
                1.0,
            ),
            ("kafka_server_replicamanager_leadercount", 3.0),
            ("kafka_server_replicamanager_atminisrpartitioncount", 3.0),
            ("kafka_server_replicamanager_underminisrpartitioncount", 0.0),
            ("kafka_controller_kafkacontroller_globaltopiccount", 2.0),
            (
                "kafka_controller_kafkacontroller_preferredreplicaimbalancecount",
                0.0,
            ),
            (
                "kafka_coordinator_group_groupmetadatamanager_numgroups",
                0.0,
            ),
            ("millrace_parked_requests", 0.0),
        ] {
            assert_eq!(figures.get(name), Some(&expected), "{name} in {figures:#?}");
        }
        times_are_shown(&figures);
        let known: Vec<_> = admin::figures::ALL.iter().map(|f| f.name).collect();
        for name in &names {
            assert!(known.contains(&name.as_str()), "{name} is in no table");
        }
        for name in known {
            assert!(
                names.iter().any(|shown| shown == name),
                "{name} is not shown"
            );
        }
        delete_and_look_again(&broker, http.address()).await;
        http.stop().await;
        broker.stop().await;
    });
}

fn times_are_shown(figures: &BTreeMap<String, f64>) {
    let time = |phase: &str, quantile: &str| {
        let labels = format!("{{request=\"Produce\",quantile=\"{quantile}\"}}");
        let name = format!("kafka_network_requestmetrics_{phase}timems{labels}");
        *figures
            .get(&name)
            .unwrap_or_else(|| panic!("{name} in {figures:#?}"))
    };
    let quantiles = ["0.50", "0.75", "0.95", "0.98", "0.99", "0.999"];
    let total = quantiles.map(|quantile| time("total", quantile));
    assert!(total.is_sorted(), "{total:?}");
    assert!(total[5] < PATIENCE.as_secs_f64() * 1000.0, "{total:?}");
    // Two of four wait for a flush, the others for nothing.
    assert!(
        time("remote", "0.999") > time("remote", "0.50"),
        "{figures:#?}"
    );
    assert!(time("local", "0.999") <= total[5] * 1.07, "{figures:#?}");
    let idle = figures["kafka_server_kafkarequesthandlerpool_requesthandleravgidle_percent"];
    assert!(0.0 < idle && idle < 1.0, "{idle}");
}

async fn delete_and_look_again(broker: &Broker, address: SocketAddr) {
    let mut kafka = broker.kafka().await;
    let request = protocol::messages::DeleteTopicsRequest {
        topic_names: vec!["one".to_owned()],
        timeout_ms: 30_000,
        ..Default::default()
    };
    let response = kafka.call(5, &request).await;
    assert_eq!(response.responses[0].error_code, 0);
    let refused = produce_request("one", 0, 1, batch(&["late"]));
    kafka.call(12, &refused).await;
    let (figures, _) = scrape(address).await;
    let left: Vec<_> = figures
        .keys()
        .filter(|name| name.contains("\"one\""))
        .collect();
    assert!(left.is_empty(), "a deleted topic is shown: {left:?}");
    assert_eq!(
        figures["kafka_server_brokertopicmetrics_messagesin_total"],
        4.0
    );
}
