//! A client in a few lines: requests of old versions, whose bytes are simple, one socket, answers in order.

use anyhow::{Context, Result, ensure};
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

/// Bytes of a request, big-endian.
#[derive(Default, Clone)]
pub struct Body(Vec<u8>);

impl Body {
    pub fn i8(mut self, value: i8) -> Body {
        self.0.extend(value.to_be_bytes());
        self
    }
    pub fn i16(mut self, value: i16) -> Body {
        self.0.extend(value.to_be_bytes());
        self
    }
    pub fn i32(mut self, value: i32) -> Body {
        self.0.extend(value.to_be_bytes());
        self
    }
    pub fn i64(mut self, value: i64) -> Body {
        self.0.extend(value.to_be_bytes());
        self
    }
    pub fn text(self, value: &str) -> Body {
        let mut body = self.i16(i16::try_from(value.len()).expect("a short text"));
        body.0.extend(value.as_bytes());
        body
    }
    pub fn no_text(self) -> Body {
        self.i16(-1)
    }
    fn bytes(self, value: &[u8]) -> Body {
        let mut body = self.i32(i32::try_from(value.len()).expect("few bytes"));
        body.0.extend(value);
        body
    }
}

/// A request: its key, its version, its bytes.
pub struct Request(i16, i16, Body);

/// CreateTopics 2, one replica each.
pub fn create_topic(name: &str, partitions: i32, configs: &[(&str, &str)]) -> Request {
    let mut body = Body::default()
        .i32(1)
        .text(name)
        .i32(partitions)
        .i16(1)
        .i32(0);
    body = body.i32(configs.len() as i32);
    for (key, value) in configs {
        body = body.text(key).text(value);
    }
    Request(19, 2, body.i32(10_000).i8(0))
}

/// CreatePartitions 0: so many in all.
pub fn create_partitions(name: &str, partitions: i32) -> Request {
    let body = Body::default().i32(1).text(name).i32(partitions);
    Request(37, 0, body.i32(-1).i32(60_000).i8(0))
}

/// DeleteTopics 1.
pub fn delete_topic(name: &str) -> Request {
    Request(20, 1, Body::default().i32(1).text(name).i32(10_000))
}

/// DeleteRecords 0.
pub fn delete_records(name: &str, partition: i32, before: i64) -> Request {
    let topic = Body::default()
        .i32(1)
        .text(name)
        .i32(1)
        .i32(partition)
        .i64(before);
    Request(21, 0, topic.i32(10_000))
}

/// FindCoordinator 0, which makes the topic of the offsets.
pub fn find_coordinator(group: &str) -> Request {
    Request(10, 0, Body::default().text(group))
}

/// OffsetCommit 2, of a group without members.
pub fn commit(group: &str, topic: &str, partition: i32, offset: i64) -> Request {
    let body = Body::default()
        .text(group)
        .i32(-1)
        .text("")
        .i64(-1)
        .i32(1)
        .text(topic);
    Request(8, 2, body.i32(1).i32(partition).i64(offset).no_text())
}

/// Produce 3 with acks=all: one batch of `count` records of `value_bytes` each.
pub fn produce(topic: &str, partition: i32, count: i32, value_bytes: usize) -> Request {
    let body = Body::default()
        .no_text()
        .i16(-1)
        .i32(10_000)
        .i32(1)
        .text(topic);
    let batch = batch(count, value_bytes);
    Request(0, 3, body.i32(1).i32(partition).bytes(&batch))
}

/// Produce 3 with acks=all: one batch of one record to each partition of a topic.
pub fn produce_to_all(topic: &str, partitions: i32, value_bytes: usize) -> Request {
    let body = Body::default().no_text().i16(-1).i32(30_000).i32(1);
    let mut body = body.text(topic).i32(partitions);
    for partition in 0..partitions {
        body = body.i32(partition).bytes(&batch(1, value_bytes));
    }
    Request(0, 3, body)
}

/// The answer to [`produce_to_all`]: the partitions' error codes.
pub fn all_produced(answer: &[u8]) -> Result<Vec<i16>> {
    let mut body = Answer(answer);
    body.i32()?;
    body.text()?;
    let mut codes = Vec::new();
    for _ in 0..body.i32()? {
        body.i32()?;
        codes.push(body.i16()?);
        body.i64()?;
        body.i64()?;
    }
    Ok(codes)
}

/// Fetch 4 of one partition, without waiting.
pub fn fetch(topic: &str, partition: i32, offset: i64, bytes_max: i32) -> Request {
    let body = Body::default().i32(-1).i32(0).i32(1).i32(bytes_max).i8(0);
    let body = body.i32(1).text(topic).i32(1).i32(partition);
    Request(1, 4, body.i64(offset).i32(bytes_max))
}

/// The answer to [`produce`]: the partition's error code and base offset.
pub fn produced(answer: &[u8]) -> Result<(i16, i64)> {
    let mut body = Answer(answer);
    body.i32()?;
    body.text()?;
    body.i32()?;
    body.i32()?;
    Ok((body.i16()?, body.i64()?))
}

/// The answer to [`fetch`]: the partition's error code and high watermark.
pub fn fetched(answer: &[u8]) -> Result<(i16, i64)> {
    let mut body = Answer(answer);
    body.i32()?;
    body.i32()?;
    body.text()?;
    body.i32()?;
    body.i32()?;
    Ok((body.i16()?, body.i64()?))
}

/// The answer to [`create_topic`], [`create_partitions`] or [`delete_topic`]: the topic's error code.
pub fn topic_code(answer: &[u8]) -> Result<i16> {
    let mut body = Answer(answer);
    body.i32()?;
    body.i32()?;
    body.text()?;
    body.i16()
}

/// The answer to [`delete_records`]: the partition's error code and low watermark.
pub fn deleted_records(answer: &[u8]) -> Result<(i16, i64)> {
    let mut body = Answer(answer);
    body.i32()?;
    body.i32()?;
    body.text()?;
    body.i32()?;
    body.i32()?;
    let low_watermark = body.i64()?;
    Ok((body.i16()?, low_watermark))
}

/// What is left of an answer, big-endian.
struct Answer<'a>(&'a [u8]);

impl Answer<'_> {
    fn take<const N: usize>(&mut self) -> Result<[u8; N]> {
        let (first, rest) = self.0.split_first_chunk().context("an answer too short")?;
        self.0 = rest;
        Ok(*first)
    }
    fn i16(&mut self) -> Result<i16> {
        Ok(i16::from_be_bytes(self.take()?))
    }
    fn i32(&mut self) -> Result<i32> {
        Ok(i32::from_be_bytes(self.take()?))
    }
    fn i64(&mut self) -> Result<i64> {
        Ok(i64::from_be_bytes(self.take()?))
    }
    fn text(&mut self) -> Result<()> {
        let length = usize::try_from(self.i16()?).context("a text without length")?;
        self.0 = self.0.get(length..).context("an answer too short")?;
        Ok(())
    }
}

fn batch(count: i32, value_bytes: usize) -> Vec<u8> {
    let mut records = Vec::new();
    for index in 0..count {
        let mut record = vec![0, 0];
        varint(&mut record, index.into());
        varint(&mut record, -1);
        varint(&mut record, value_bytes as i64);
        record.extend(std::iter::repeat_n(b'x', value_bytes));
        record.push(0);
        varint(&mut records, record.len() as i64);
        records.extend(record);
    }
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    let now = now.map_or(0, |since| since.as_millis() as i64);
    let checked = Body::default().i16(0).i32(count - 1).i64(now).i64(now);
    let mut checked = checked.i64(-1).i16(-1).i32(-1).i32(count).0;
    checked.extend(records);
    let head = Body::default()
        .i64(0)
        .i32(checked.len() as i32 + 9)
        .i32(-1)
        .i8(2);
    let mut batch = head.i32(crc32c(&checked) as i32).0;
    batch.extend(checked);
    batch
}

/// Zigzag, seven bits a byte.
fn varint(out: &mut Vec<u8>, value: i64) {
    let mut rest = ((value << 1) ^ (value >> 63)) as u64;
    while rest >= 0x80 {
        out.push(rest as u8 | 0x80);
        rest >>= 7;
    }
    out.push(rest as u8);
}

fn crc32c(bytes: &[u8]) -> u32 {
    let step = |crc: u32, byte: &u8| {
        (0..8).fold(crc ^ u32::from(*byte), |crc, _| {
            (crc >> 1) ^ (0x82f6_3b78 & (crc & 1).wrapping_neg())
        })
    };
    !bytes.iter().fold(!0, step)
}

/// One connection.
pub struct Client {
    stream: TcpStream,
    sent: i32,
    received: i32,
    buffer: Vec<u8>,
}

impl Client {
    pub fn connect(address: SocketAddr) -> Result<Client> {
        let stream = TcpStream::connect(address).context("connecting")?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(Duration::from_secs(30)))?;
        Ok(Client {
            stream,
            sent: 0,
            received: 0,
            buffer: Vec::new(),
        })
    }

    /// The port of this end, by which the trace names the connection.
    pub fn port(&self) -> Result<u16> {
        Ok(self.stream.local_addr()?.port())
    }

    /// Sends one request and waits for its answer: the bytes behind the correlation id.
    pub fn ask(&mut self, request: &Request) -> Result<Vec<u8>> {
        self.send(std::slice::from_ref(&request))?;
        loop {
            if let Some(answer) = self.answer()? {
                return Ok(answer);
            }
            self.receive()?;
        }
    }

    /// Keeps `window` copies of a request in flight until `count` are answered.
    pub fn flood(&mut self, request: &Request, window: i32, count: i32) -> Result<()> {
        let end = self.received + count;
        while self.received < end {
            let room = (window - (self.sent - self.received)).min(end - self.sent);
            let more: Vec<&Request> = (0..room).map(|_| request).collect();
            self.send(&more)?;
            self.receive()?;
            while self.answer()?.is_some() {}
        }
        Ok(())
    }

    /// Sends requests, `window` of them in flight, and gives the answers in order.
    pub fn pipeline<'a>(
        &mut self,
        requests: impl Iterator<Item = &'a Request>,
        window: usize,
    ) -> Result<Vec<Vec<u8>>> {
        let mut requests = requests.peekable();
        let (mut answers, mut in_flight) = (Vec::new(), 0);
        while requests.peek().is_some() || in_flight > 0 {
            let more: Vec<&Request> = requests.by_ref().take(window - in_flight).collect();
            in_flight += more.len();
            self.send(&more)?;
            self.receive()?;
            while let Some(answer) = self.answer()? {
                answers.push(answer);
                in_flight -= 1;
            }
        }
        Ok(answers)
    }

    fn send(&mut self, requests: &[&Request]) -> Result<()> {
        let mut bytes = Vec::new();
        for Request(key, version, body) in requests {
            let head = Body::default()
                .i16(*key)
                .i16(*version)
                .i32(self.sent)
                .text("syscalls");
            self.sent += 1;
            bytes.extend(((head.0.len() + body.0.len()) as i32).to_be_bytes());
            bytes.extend(&head.0);
            bytes.extend(&body.0);
        }
        self.stream.write_all(&bytes).context("sending")
    }

    fn receive(&mut self) -> Result<()> {
        let mut part = [0; 65536];
        let length = self
            .stream
            .read(&mut part)
            .context("waiting for an answer")?;
        ensure!(length > 0, "the broker closed the connection");
        self.buffer.extend(&part[..length]);
        Ok(())
    }

    fn answer(&mut self) -> Result<Option<Vec<u8>>> {
        let Some(head) = self.buffer.first_chunk::<4>() else {
            return Ok(None);
        };
        let length = u32::from_be_bytes(*head) as usize;
        if self.buffer.len() < 4 + length {
            return Ok(None);
        }
        let frame: Vec<u8> = self.buffer.drain(..4 + length).collect();
        ensure!(
            frame[4..8] == self.received.to_be_bytes(),
            "an answer out of order"
        );
        self.received += 1;
        Ok(Some(frame[8..].to_vec()))
    }
}
