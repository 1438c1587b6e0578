//! Indexes, producer snapshots and files of text.

use anyhow::Result;
use bytes::{Buf, Bytes};
use protocol::records::crc32c;
use protocol::stored::ProducerSnapshot;
use protocol::stored::frame::decode_versioned;
use protocol::stored::producer_snapshot::ProducerEntry;
use serde_json::json;
use storage::FileKind;
use types::Offset;

use super::Out;

/// Bytes of a snapshot before what its checksum covers: the version and the checksum.
const CHECKSUMMED_FROM: usize = 6;

/// Says every entry of an index. `name` has the segment's base offset, which entries count from.
pub(super) fn index(out: &mut Out, kind: FileKind, name: &str, bytes: &[u8]) -> Result<()> {
    let base = base_offset(name);
    let size = match kind {
        FileKind::OffsetIndex => 8,
        FileKind::TimeIndex => 12,
        FileKind::TransactionIndex => 34,
        FileKind::Log | FileKind::ProducerSnapshot => panic!("a {kind:?} is no index"),
    };
    let mut entries = bytes.chunks_exact(size).enumerate();
    let mut position = 0;
    for (number, entry) in &mut entries {
        // Kafka makes its indexes long in advance: behind the first entry, zeros are empty space.
        if number > 0 && entry.iter().all(|&byte| byte == 0) {
            break;
        }
        say_entry(out, kind, base, entry)?;
        position += size;
    }
    let rest = &bytes[position..];
    if rest.iter().any(|&byte| byte != 0) {
        return out.damage(position as u64, "bytes after the last entry");
    }
    if !rest.is_empty() {
        let free = rest.len();
        out.say(
            &format!("{free} bytes of empty space"),
            || json!({ "position": position, "emptySpaceBytes": free }),
        )?;
    }
    Ok(())
}

fn base_offset(name: &str) -> Offset {
    let digits = name.split('.').next().unwrap_or_default();
    digits.parse().unwrap_or(0)
}

fn say_entry(out: &mut Out, kind: FileKind, base: Offset, mut entry: &[u8]) -> Result<()> {
    match kind {
        FileKind::OffsetIndex => {
            let offset = base.saturating_add(i64::from(entry.get_u32()));
            let position = entry.get_u32();
            out.say(
                &format!("offset {offset} at position {position}"),
                || json!({ "offset": offset, "position": position }),
            )
        }
        FileKind::TimeIndex => {
            let timestamp = entry.get_i64();
            let offset = base.saturating_add(i64::from(entry.get_u32()));
            out.say(
                &format!("timestamp {timestamp} at offset {offset}"),
                || json!({ "timestamp": timestamp, "offset": offset }),
            )
        }
        _ => {
            let version = entry.get_i16();
            let producer = entry.get_i64();
            let (first, last) = (entry.get_i64(), entry.get_i64());
            let stable = entry.get_i64();
            let text =
                format!("producer {producer} aborted {first}..{last}, last stable offset {stable}");
            out.say(&text, || {
                json!({
                    "version": version,
                    "producerId": producer,
                    "firstOffset": first,
                    "lastOffset": last,
                    "lastStableOffset": stable,
                })
            })
        }
    }
}

/// Says every producer of a snapshot.
pub(super) fn producer_snapshot(out: &mut Out, bytes: Bytes) -> Result<()> {
    let snapshot = match decode_versioned::<ProducerSnapshot>(bytes.clone()) {
        Ok(snapshot) => snapshot,
        Err(error) => return out.damage(0, &error.to_string()),
    };
    let computed = crc32c(&bytes[CHECKSUMMED_FROM..]);
    if computed != snapshot.crc {
        let stored = snapshot.crc;
        let reason = format!("checksum {computed:08x}, stored {stored:08x}");
        out.damage(0, &reason)?;
    }
    for entry in &snapshot.producer_entries {
        say_producer(out, entry)?;
    }
    Ok(())
}

fn say_producer(out: &mut Out, entry: &ProducerEntry) -> Result<()> {
    let open = Some(entry.current_txn_first_offset).filter(|&offset| offset >= 0);
    let mut text = format!(
        "producer {} epoch {}, last sequence {}, last offset {} (offset delta {}), timestamp {}, coordinator epoch {}",
        entry.producer_id,
        entry.epoch,
        entry.last_sequence,
        entry.last_offset,
        entry.offset_delta,
        entry.timestamp,
        entry.coordinator_epoch,
    );
    if let Some(first) = open {
        text.push_str(&format!(", open transaction from {first}"));
    }
    out.say(&text, || {
        json!({
            "producerId": entry.producer_id,
            "producerEpoch": entry.epoch,
            "lastSequence": entry.last_sequence,
            "lastOffset": entry.last_offset,
            "offsetDelta": entry.offset_delta,
            "timestamp": entry.timestamp,
            "coordinatorEpoch": entry.coordinator_epoch,
            "openTransactionFirstOffset": open,
        })
    })
}

/// Says the lines of a file of text.
pub(super) fn text(out: &mut Out, bytes: &[u8]) -> Result<()> {
    let Ok(text) = std::str::from_utf8(bytes) else {
        return out.damage(0, "this is no text");
    };
    for line in text.lines() {
        out.say(&format!("  {line}"), || json!({ "line": line }))?;
    }
    Ok(())
}
