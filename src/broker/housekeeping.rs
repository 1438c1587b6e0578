//! What a core does from time to time: retention, unlinking what was deleted, checkpoints, letting go of files.

use std::rc::Rc;
use std::time::Duration;

use types::Mono;

use crate::core::Core;

/// How often proven offsets are written down if they have changed.
const CHECKPOINT_INTERVAL: Duration = Duration::from_secs(1);
/// How long after a start retention is first looked at, in milliseconds.
const RETENTION_DELAY_MS: i64 = 30_000;
/// How often it is looked whether deleted files are due, in milliseconds.
const UNLINK_INTERVAL_MS: i64 = 5_000;

/// Runs until the node stops.
pub async fn run(core: Rc<Core>) {
    let start = core.now().mono;
    let mut retention_due = start.plus_millis(RETENTION_DELAY_MS);
    let settings = &core.node.settings;
    let watermark_interval_ms = settings.high_watermark_checkpoint_interval_ms.max(1);
    let mut watermark_due = start.plus_millis(watermark_interval_ms);
    let settle_interval_ms = settings.flush_offset_checkpoint_interval_ms.max(1);
    let mut settle_due = start.plus_millis(settle_interval_ms);
    let mut unlink_due = start.plus_millis(UNLINK_INTERVAL_MS);
    loop {
        runtime::select! {
            biased;
            () = core.stopping() => return,
            () = runtime::time::sleep(CHECKPOINT_INTERVAL) => {}
        }
        core.with_shard(|shard| shard.write_epochs());
        core.drain_shard();
        checkpoint(&core).await;
        crate::shard::relieve_if_crowded(&core);
        let now = core.now();
        if due(&mut retention_due, now.mono, retention_interval_ms(&core)) {
            core.with_shard(|shard| shard.retain_all());
            core.drain_shard();
        }
        if due(&mut settle_due, now.mono, settle_interval_ms) {
            core.with_shard(|shard| shard.settle_journaled());
            core.drain_shard();
        }
        if due(&mut watermark_due, now.mono, watermark_interval_ms) {
            core.with_shard(|shard| shard.note_high_watermarks());
        }
        if due(&mut unlink_due, now.mono, UNLINK_INTERVAL_MS) {
            crate::shard::unlink_deleted(&core).await;
        }
    }
}

fn retention_interval_ms(core: &Core) -> i64 {
    core.node
        .image()
        .broker_config()
        .retention_check_interval_ms
}

fn due(at: &mut Mono, now: Mono, interval_ms: i64) -> bool {
    // An interval that was made shorter acts at once.
    *at = (*at).min(now.plus_millis(interval_ms));
    if now < *at {
        return false;
    }
    *at = now.plus_millis(interval_ms);
    true
}

/// The first core writes down what changed in each directory's checkpoints.
async fn checkpoint(core: &Rc<Core>) {
    if core.index != 0 {
        return;
    }
    for directory in &core.node.directories {
        if directory.failure().is_some() {
            continue;
        }
        if let Err(error) = directory.write_checkpoints().await {
            tracing::error!(%error, "the checkpoints of a log directory were not written");
        }
    }
}
