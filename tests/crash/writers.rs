//! The producers: each in a thread, each with its own librdkafka instance and so its own producer id.

use anyhow::{Context, Result, anyhow, ensure};
use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication};
use rdkafka::client::ClientContext;
use rdkafka::config::ClientConfig;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::Message;
use rdkafka::producer::{BaseProducer, BaseRecord, DeliveryResult, Producer, ProducerContext};
use std::collections::BTreeMap;
use std::future::Future;
use std::pin::pin;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context as TaskContext, Poll, Wake, Waker};
use std::thread::{JoinHandle, Thread};
use std::time::{Duration, Instant};

/// Numbers of one producer that may be on their way at the same time.
const IN_FLIGHT_MAX: u64 = 200;

/// What one producer did.
pub struct History {
    /// Its key.
    pub producer: u32,
    /// The partition it wrote to.
    pub partition: i32,
    /// Acknowledged number -> the offset that the acknowledgement named.
    pub acknowledged: BTreeMap<u64, i64>,
    /// The first number that it never sent.
    pub sent_end: u64,
}

/// All producers.
pub struct Writers {
    stop: Arc<AtomicBool>,
    acknowledged: Arc<AtomicU64>,
    threads: Vec<JoinHandle<Result<History>>>,
}

/// Where delivery reports of one producer go.
struct Reports {
    acknowledged: Mutex<BTreeMap<u64, i64>>,
    errors: Mutex<Vec<String>>,
    total: Arc<AtomicU64>,
}

struct Delivery(Arc<Reports>);

impl ClientContext for Delivery {
    fn log(&self, _: rdkafka::config::RDKafkaLogLevel, _: &str, _: &str) {}
    fn error(&self, _: KafkaError, _: &str) {}
}

impl ProducerContext for Delivery {
    type DeliveryOpaque = usize;

    fn delivery(&self, result: &DeliveryResult<'_>, number: usize) {
        match result {
            Ok(message) => {
                let before = self
                    .0
                    .acknowledged
                    .lock()
                    .expect("no thread panics with it")
                    .insert(number as u64, message.offset());
                if before.is_some() {
                    let text = format!("number {number} was acknowledged twice");
                    self.0
                        .errors
                        .lock()
                        .expect("no thread panics with it")
                        .push(text);
                }
                self.0.total.fetch_add(1, Ordering::Relaxed);
            }
            Err((error, _)) => {
                let text = format!("number {number}: {error}");
                self.0
                    .errors
                    .lock()
                    .expect("no thread panics with it")
                    .push(text);
            }
        }
    }
}

impl Writers {
    /// Starts the producers.
    pub fn start(bootstrap: &str, topic: &str, producers: u32, partitions: i32) -> Result<Writers> {
        let stop = Arc::new(AtomicBool::new(false));
        let acknowledged = Arc::new(AtomicU64::new(0));
        let mut threads = Vec::new();
        for producer in 0..producers {
            let partition = producer as i32 % partitions;
            let (stop, total) = (stop.clone(), acknowledged.clone());
            let (bootstrap, topic) = (bootstrap.to_owned(), topic.to_owned());
            threads.push(std::thread::spawn(move || {
                write(&bootstrap, &topic, producer, partition, &stop, total)
            }));
        }
        Ok(Writers {
            stop,
            acknowledged,
            threads,
        })
    }

    /// How many numbers were acknowledged so far.
    pub fn acknowledged(&self) -> u64 {
        self.acknowledged.load(Ordering::Relaxed)
    }

    /// Fails when a producer has ended by itself.
    pub fn complain(&self) -> Result<()> {
        ensure!(
            !self.threads.iter().any(JoinHandle::is_finished),
            "a producer gave up"
        );
        Ok(())
    }

    /// Lets every producer finish what it sent, within `drain_max`.
    pub fn stop(self, drain_max: Duration) -> Result<Vec<History>> {
        self.stop.store(true, Ordering::Relaxed);
        let deadline = Instant::now() + drain_max;
        let mut histories = Vec::new();
        for thread in self.threads {
            while !thread.is_finished() {
                ensure!(
                    Instant::now() < deadline,
                    "producers did not finish within {drain_max:?}"
                );
                std::thread::sleep(Duration::from_millis(20));
            }
            histories.push(
                thread
                    .join()
                    .map_err(|_| anyhow!("a producer panicked"))??,
            );
        }
        Ok(histories)
    }
}

fn write(
    bootstrap: &str,
    topic: &str,
    producer: u32,
    partition: i32,
    stop: &AtomicBool,
    total: Arc<AtomicU64>,
) -> Result<History> {
    let reports = Arc::new(Reports {
        acknowledged: Mutex::new(BTreeMap::new()),
        errors: Mutex::new(Vec::new()),
        total,
    });
    let client: BaseProducer<Delivery> = ClientConfig::new()
        .set("bootstrap.servers", bootstrap)
        .set("client.id", format!("crash-{producer}"))
        .set("enable.idempotence", "true")
        .set("linger.ms", "1")
        .set("batch.num.messages", "20")
        .set("message.timeout.ms", "0")
        .set("socket.timeout.ms", "5000")
        .set("retry.backoff.ms", "20")
        .set("reconnect.backoff.ms", "10")
        .set("reconnect.backoff.max.ms", "200")
        .create_with_context(Delivery(reports.clone()))?;
    let key = producer.to_string();
    let mut next = 0u64;
    while !stop.load(Ordering::Relaxed) {
        if client.in_flight_count() as u64 >= IN_FLIGHT_MAX {
            client.poll(Duration::from_millis(5));
            continue;
        }
        let payload = next.to_string();
        let record = BaseRecord::with_opaque_to(topic, next as usize)
            .partition(partition)
            .key(&key)
            .payload(&payload);
        match client.send(record) {
            Ok(()) => next += 1,
            Err((KafkaError::MessageProduction(RDKafkaErrorCode::QueueFull), _)) => {
                client.poll(Duration::from_millis(5));
            }
            Err((error, _)) => return Err(error).context("send"),
        }
        client.poll(Duration::ZERO);
    }
    client.flush(Duration::from_secs(100)).context("flush")?;
    if let Some((code, reason)) = client.client().fatal_error() {
        return Err(anyhow!("producer {producer} ended with {code}: {reason}"));
    }
    let errors = std::mem::take(&mut *reports.errors.lock().expect("no thread panics with it"));
    ensure!(
        errors.is_empty(),
        "producer {producer}: {} errors, first: {}",
        errors.len(),
        errors[0]
    );
    let acknowledged = std::mem::take(
        &mut *reports
            .acknowledged
            .lock()
            .expect("no thread panics with it"),
    );
    Ok(History {
        producer,
        partition,
        acknowledged,
        sent_end: next,
    })
}

/// Creates the topic on one broker.
pub fn create_topic(bootstrap: &str, topic: &str, partitions: i32) -> Result<()> {
    let admin: AdminClient<_> = ClientConfig::new()
        .set("bootstrap.servers", bootstrap)
        .create()?;
    let new = NewTopic::new(topic, partitions, TopicReplication::Fixed(1));
    let options = AdminOptions::new().operation_timeout(Some(Duration::from_secs(10)));
    let results = wait(admin.create_topics([&new], &options))?;
    for result in results {
        result.map_err(|(name, code)| anyhow!("create {name}: {code}"))?;
    }
    Ok(())
}

/// Runs a future of librdkafka's own threads to its end.
fn wait<T>(future: impl Future<Output = T>) -> T {
    struct Unpark(Thread);
    impl Wake for Unpark {
        fn wake(self: Arc<Self>) {
            self.0.unpark();
        }
    }
    let waker = Waker::from(Arc::new(Unpark(std::thread::current())));
    let mut context = TaskContext::from_waker(&waker);
    let mut future = pin!(future);
    loop {
        match future.as_mut().poll(&mut context) {
            Poll::Ready(value) => return value,
            Poll::Pending => std::thread::park(),
        }
    }
}
