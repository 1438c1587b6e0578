//! Sending.

use client::producer::{self, Producer, ProducerConfig, ProducerRecord};
use protocol::records::Compression;

use super::actor::Actor;
use super::failure::stage_of_delivery;
use super::values;
use crate::history::{Acks, Body, Key, Send, Sending, Stage};
use crate::plan::ClientPlan;

impl Actor {
    /// Gives so many records to the producer at once and waits for all; how that ended, if it began.
    pub(super) async fn send(
        &mut self,
        topic: &str,
        partition: i32,
        records: u32,
        bytes: u32,
    ) -> Option<(Stage, Vec<Send>)> {
        let Some(known) = self.resolve(topic).await else {
            self.skip("send", "unknown topic");
            return None;
        };
        if !known.partitions.contains_key(&partition) {
            self.skip("send", "unknown partition");
            return None;
        }
        let key = Key {
            topic: known.id,
            partition,
        };
        let sends: Vec<Send> = (0..records)
            .map(|_| Send::new(key, self.context.next_value(self.id())))
            .collect();
        let sending = self.sending(topic);
        let body = Body::Send {
            sending,
            sends: sends.clone(),
        };
        self.start_producer();
        self.invoke(body.clone());
        let ends = self.deliver(topic, sends, bytes, &body).await;
        let stage = self.complete_send(ends.clone());
        Some((stage, ends))
    }

    /// Gives the records over, then waits for each.
    async fn deliver(
        &self,
        topic: &str,
        mut sends: Vec<Send>,
        bytes: u32,
        body: &Body,
    ) -> Vec<Send> {
        let producer = self.producer.as_ref().expect("it was started");
        let mut deliveries = Vec::new();
        for send in &sends {
            let record = ProducerRecord {
                topic: topic.to_owned(),
                topic_id: Some(send.key.topic),
                partition: Some(send.key.partition),
                value: Some(values::encode(send.value, bytes)),
                ..ProducerRecord::default()
            };
            deliveries.push(producer.send(record).await);
        }
        for (send, delivery) in sends.iter_mut().zip(deliveries) {
            let delivery = match delivery {
                Ok(delivery) => delivery,
                Err(error) => {
                    // It was not even taken over.
                    send.stage = Stage::Fail;
                    self.last_error.replace(Some(error));
                    continue;
                }
            };
            match delivery.await {
                Ok(place) => {
                    send.stage = Stage::Ok;
                    send.offset = place.offset;
                    send.log_start = place.log_start_offset;
                }
                Err(failed) => {
                    send.stage = stage_of_delivery(body, &failed);
                    self.last_error.replace(Some(failed.error));
                }
            }
        }
        sends
    }

    fn start_producer(&mut self) {
        if self.producer.is_none() {
            let config = config(&self.plan);
            let producer = Producer::new(&self.client, config);
            self.producer = Some(producer.expect("plans are checked before they are run"));
        }
    }

    fn sending(&self, topic: &str) -> Sending {
        Sending {
            acks: match self.plan.acks {
                0 => Acks::None,
                1 => Acks::Leader,
                _ => Acks::All,
            },
            idempotent: self.plan.idempotent,
            retries: self.plan.acks != 0,
            in_flight_max: in_flight_max(&self.plan) as u8,
            class: self.context.class_of(topic),
        }
    }
}

fn in_flight_max(plan: &ClientPlan) -> usize {
    plan.in_flight.clamp(1, 5)
}

fn config(plan: &ClientPlan) -> ProducerConfig {
    let code = plan.setting("compression", 0);
    let compression = u8::try_from(code).ok().and_then(Compression::from_code);
    let request_timeout_ms = plan.setting("request_timeout_ms", 3_000);
    let delivery_timeout_ms = plan.setting("delivery_timeout_ms", 15_000) as u64;
    ProducerConfig {
        acks: match plan.acks {
            0 => producer::Acks::None,
            1 => producer::Acks::Leader,
            _ => producer::Acks::All,
        },
        is_idempotent: plan.idempotent,
        linger_ms: plan.setting("linger_ms", 0) as u64,
        batch_bytes_max: plan.setting("batch_bytes_max", 16 << 10) as usize,
        in_flight_max: in_flight_max(plan),
        delivery_timeout_ms,
        request_timeout_ms: i32::try_from(request_timeout_ms).unwrap_or(i32::MAX),
        block_ms_max: delivery_timeout_ms,
        compression: compression.unwrap_or_default().into(),
        first_sequence: plan.setting("first_sequence", 0) as i32,
        ..ProducerConfig::default()
    }
}
