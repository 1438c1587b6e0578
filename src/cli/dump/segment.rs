//! Batches of a segment or a snapshot, one after the other.

use std::path::Path;

use anyhow::{Context, Result};
use bytes::Bytes;
use protocol::records::{
    BATCH_HEADER_BYTES, Batch, BatchHeader, Compression, Record, TimestampType,
};
use runtime::disk::{Disk, File, OpenMode};
use serde_json::{Map, Value, json};

use super::Out;
use super::decode::{self, RecordKind};
use crate::output;

/// Bytes read at once to see whether a file's rest is empty space.
const CHUNK_BYTES: usize = 256 << 10;

/// Says every batch of the file, and their records if their kind is given.
pub(super) async fn dump(
    out: &mut Out,
    disk: &Disk,
    path: &Path,
    records: Option<RecordKind>,
) -> Result<()> {
    let named = || path.display().to_string();
    let file = disk.open(path, OpenMode::Read).await.with_context(named)?;
    let length = file.len().with_context(named)?;
    let mut position = 0;
    let mut next_offset = None;
    while position < length {
        let Some(batch) = read_batch(out, &file, position, length).await? else {
            return Ok(());
        };
        let header = *batch.header();
        if next_offset.is_some_and(|next| header.base_offset < next) {
            let base = header.base_offset;
            out.damage(position, &format!("offset {base} does not follow"))?;
        }
        next_offset = Some(header.next_offset());
        say_batch(out, &batch, position, records)?;
        position += batch.size_bytes() as u64;
    }
    Ok(())
}

/// The batch at `position`; nothing after empty space or damage, which is said.
async fn read_batch(
    out: &mut Out,
    file: &File,
    position: u64,
    length: u64,
) -> Result<Option<Batch>> {
    let head = file.read_at(position, BATCH_HEADER_BYTES).await?;
    let header = match BatchHeader::parse(&head) {
        Ok(header) => header,
        Err(error) => {
            if is_empty_space(file, position, length).await? {
                let free = length - position;
                out.say(
                    &format!("{free} bytes of empty space"),
                    || json!({ "position": position, "emptySpaceBytes": free }),
                )?;
            } else {
                out.damage(position, &error.to_string())?;
            }
            return Ok(None);
        }
    };
    let size = header.size_bytes();
    if position + size as u64 > length {
        let there = length - position;
        let reason = format!("a batch of {size} bytes, of which {there} are there");
        out.damage(position, &reason)?;
        return Ok(None);
    }
    let bytes = file.read_at(position, size).await?;
    match Batch::parse(&bytes) {
        Ok(batch) => Ok(Some(batch)),
        Err(error) => {
            out.damage(position, &error.to_string())?;
            Ok(None)
        }
    }
}

/// Whether nothing but zeros follows: space that was allocated and not written yet.
async fn is_empty_space(file: &File, from: u64, length: u64) -> Result<bool> {
    let mut position = from;
    while position < length {
        let bytes = file.read_at(position, CHUNK_BYTES).await?;
        if bytes.is_empty() || bytes.iter().any(|&byte| byte != 0) {
            return Ok(false);
        }
        position += bytes.len() as u64;
    }
    Ok(true)
}

fn say_batch(
    out: &mut Out,
    batch: &Batch,
    position: u64,
    records: Option<RecordKind>,
) -> Result<()> {
    let header = batch.header();
    out.say(&batch_text(header, position), || {
        batch_json(header, position)
    })?;
    if let Err(error) = batch.verify_crc() {
        return out.damage(position, &error.to_string());
    }
    let Some(kind) = records else { return Ok(()) };
    for record in batch.records() {
        match record {
            Ok(record) => say_record(out, header, &record, kind)?,
            Err(error) => return out.damage(position, &error.to_string()),
        }
    }
    Ok(())
}

fn codec(header: &BatchHeader) -> String {
    let name = header.compression().map(Compression::name);
    name.map_or_else(|error| error.to_string(), str::to_owned)
}

fn flags(header: &BatchHeader) -> Vec<&'static str> {
    let flags = [
        (header.is_transactional(), "transactional"),
        (header.is_control(), "control"),
        (header.delete_horizon().is_some(), "delete horizon"),
    ];
    let set = flags.into_iter().filter(|(is_set, _)| *is_set);
    set.map(|(_, name)| name).collect()
}

fn timestamp_type(header: &BatchHeader) -> &'static str {
    match header.timestamp_type() {
        TimestampType::CreateTime => "CreateTime",
        TimestampType::LogAppendTime => "LogAppendTime",
    }
}

fn batch_text(header: &BatchHeader, position: u64) -> String {
    let mut text = format!(
        "batch {}..{} at {position}: {} bytes, {} records, epoch {}, {} {}, codec {}, crc {:08x}",
        header.base_offset,
        header.last_offset(),
        header.size_bytes(),
        header.record_count,
        header.partition_leader_epoch,
        timestamp_type(header),
        header.max_timestamp,
        codec(header),
        header.crc,
    );
    if header.has_producer_id() {
        text.push_str(&format!(
            ", producer {} epoch {} sequence {}",
            header.producer_id, header.producer_epoch, header.base_sequence
        ));
    }
    for flag in flags(header) {
        text.push_str(", ");
        text.push_str(flag);
    }
    text
}

fn batch_json(header: &BatchHeader, position: u64) -> Value {
    json!({ "batch": {
        "position": position,
        "sizeBytes": header.size_bytes(),
        "baseOffset": header.base_offset,
        "lastOffset": header.last_offset(),
        "recordCount": header.record_count,
        "partitionLeaderEpoch": header.partition_leader_epoch,
        "timestampType": timestamp_type(header),
        "baseTimestamp": header.base_timestamp,
        "maxTimestamp": header.max_timestamp,
        "compression": codec(header),
        "crc": header.crc,
        "producerId": header.producer_id,
        "producerEpoch": header.producer_epoch,
        "baseSequence": header.base_sequence,
        "transactional": header.is_transactional(),
        "control": header.is_control(),
        "deleteHorizonMs": header.delete_horizon(),
    }})
}

fn say_record(
    out: &mut Out,
    header: &BatchHeader,
    record: &Record,
    kind: RecordKind,
) -> Result<()> {
    let decoded = if header.is_control() {
        Some(decode::control(record))
    } else {
        decode::record(kind, record)
    };
    out.say(&record_text(record, decoded.as_deref()), || {
        record_json(record, decoded.as_deref())
    })
}

fn record_text(record: &Record, decoded: Option<&str>) -> String {
    let (offset, timestamp) = (record.offset, record.timestamp);
    let mut text = format!("  record {offset} timestamp {timestamp} ");
    match decoded {
        Some(decoded) => text.push_str(decoded),
        None => {
            let (key, value) = (shown(record.key.as_ref()), shown(record.value.as_ref()));
            text.push_str(&format!("key {key} value {value}"));
        }
    }
    for header in &record.headers {
        let (key, value) = (shown(Some(&header.key)), shown(header.value.as_ref()));
        text.push_str(&format!(" header {key}={value}"));
    }
    text
}

/// Text in quotes, other bytes as hexadecimal digits.
fn shown(bytes: Option<&Bytes>) -> String {
    match bytes.map(|bytes| (bytes, std::str::from_utf8(bytes))) {
        None => "null".to_owned(),
        Some((_, Ok(text))) => format!("{text:?}"),
        Some((bytes, Err(_))) => format!("0x{}", output::hex(bytes)),
    }
}

fn record_json(record: &Record, decoded: Option<&str>) -> Value {
    let mut object = Map::new();
    object.insert("offset".to_owned(), json!(record.offset));
    object.insert("timestamp".to_owned(), json!(record.timestamp));
    match decoded {
        Some(decoded) => {
            object.insert("decoded".to_owned(), json!(decoded));
        }
        None => {
            output::put_bytes(&mut object, "key", record.key.as_ref());
            output::put_bytes(&mut object, "value", record.value.as_ref());
        }
    }
    let headers = record.headers.iter().map(|header| {
        let mut object = Map::new();
        output::put_bytes(&mut object, "key", Some(&header.key));
        output::put_bytes(&mut object, "value", header.value.as_ref());
        Value::Object(object)
    });
    object.insert("headers".to_owned(), Value::Array(headers.collect()));
    json!({ "record": object })
}

#[cfg(test)]
mod tests {
    use super::*;
    use protocol::records::Header;

    #[test]
    fn a_record_is_shown_as_it_is_or_decoded() {
        let record = Record {
            offset: 3,
            timestamp: 7,
            key: None,
            value: Some(Bytes::from_static(b"\xff")),
            headers: vec![Header {
                key: Bytes::from_static(b"h"),
                value: Some(Bytes::from_static(b"\"")),
            }],
        };
        let plain = r#"  record 3 timestamp 7 key null value 0xff header "h"="\"""#;
        assert_eq!(record_text(&record, None), plain);
        let decoded = r#"  record 3 timestamp 7 NoOp header "h"="\"""#;
        assert_eq!(record_text(&record, Some("NoOp")), decoded);
        assert_eq!(record_json(&record, None)["record"]["valueHex"], "ff");
    }
}
