//! L5, of a reader that stands at the end: it sees what comes.

use std::rc::Rc;

use runtime::simulated::world::now_nanos;

use super::NANOS_PER_MS;
use super::actor::Actor;
use super::context::Context;
use super::judge::{self, FinalReads};
use crate::history::{Key, Stage};
use crate::plan::Role;

/// Which of the judge's clients writes: behind all members of its groups.
const PLACE: u32 = 100;
/// How long the reader may take, in simulated milliseconds.
const READ_MS_MAX: u64 = 30_000;
/// What the reader waits for at the end before anything comes, in milliseconds: long enough for answers without news.
const IDLE_MS: u64 = 1_500;

/// Writes one record to every partition that was read to its end, which the same reader then has to get.
pub(super) async fn follow(
    context: &Rc<Context>,
    reader: &mut Actor,
    places: &[(String, i32, Key)],
    found: &mut FinalReads,
) {
    let idle_until = now_nanos() + IDLE_MS * NANOS_PER_MS;
    while now_nanos() < idle_until {
        reader.poll(IDLE_MS / 3).await;
    }
    let mut writer = Actor::new(context, judge::client(context, PLACE, Role::Producer));
    for (topic, partition, key) in places {
        if found.missing.contains(key) {
            continue;
        }
        // Whether it can be written at all is L4's.
        if let Some((Stage::Ok, sends)) = writer.send(topic, *partition, 1, 0).await
            && let Some(offset) = sends.last().and_then(|send| send.offset)
        {
            found.ends.insert(*key, offset + 1);
        }
    }
    let deadline = now_nanos() + READ_MS_MAX * NANOS_PER_MS;
    judge::read_to_end(reader, found, deadline).await;
}
