//! The simulated clients: what a plan says that they do, done with the client crate, and told to the history.
//!
//! A client is a node. It has one process of the history at a time: after an operation whose end is unknown it goes on
//! under another number, with the same connections, since what it does next may come before that operation's effect.

mod actor;
mod administer;
mod consume;
mod context;
mod failure;
pub mod judge;
mod members;
mod nuisance;
mod produce;
mod tail;
#[cfg(test)]
mod tests;
mod values;

use std::rc::Rc;
use std::time::Duration;

use runtime::simulated::world::now_nanos;

use crate::plan::{ClientPlan, Operation};
use actor::Actor;

pub use context::Context;

const NANOS_PER_MS: u64 = 1_000_000;

/// Runs all steps of one client on its own node, inside a core; returns when all are done. A step begins at its time,
/// or as soon as the one before has ended. A node that is started again goes on with the step after the one in which it was stopped.
pub async fn live(context: Rc<Context>, client: ClientPlan) {
    let steps = client.steps.clone();
    let mut actor = Actor::new(&context, client);
    while let Some(step) = steps.get(context.next_step(actor.id())) {
        let at_nanos = context.began_nanos.get() + step.at_ms * NANOS_PER_MS;
        loop {
            let now = now_nanos();
            if now >= at_nanos {
                break;
            }
            runtime::time::sleep(Duration::from_nanos(at_nanos - now)).await;
        }
        context.step_begins(actor.id());
        perform(&mut actor, &step.operation).await;
    }
}

async fn perform(actor: &mut Actor, operation: &Operation) {
    match operation {
        Operation::Send {
            topic,
            partition,
            records,
            bytes,
        } => drop(actor.send(topic, *partition, *records, *bytes).await),
        Operation::Poll { wait_ms } => drop(actor.poll(*wait_ms).await),
        Operation::Assign(partitions) => actor.assign(partitions).await,
        Operation::Subscribe(topics) => actor.subscribe(topics).await,
        Operation::Seek {
            topic,
            partition,
            to,
        } => actor.seek(topic, *partition, *to).await,
        Operation::Commit => drop(actor.commit().await),
        Operation::Committed => actor.committed().await,
        Operation::CommitFor {
            group,
            topic,
            partition,
            offset,
        } => actor.commit_for(group, topic, *partition, *offset).await,
        Operation::Leave => actor.leave().await,
        Operation::Offsets {
            topic,
            partition,
            at,
        } => actor.offsets(topic, *partition, *at).await,
        Operation::CreateTopic {
            topic,
            partitions,
            configs,
        } => actor.create_topic(topic, *partitions, configs).await,
        Operation::DeleteTopic(topic) => actor.delete_topic(topic).await,
        Operation::DeleteGroup(group) => actor.delete_group(group).await,
        Operation::AddPartitions { topic, more } => actor.add_partitions(topic, *more).await,
        Operation::DeleteRecords {
            topic,
            partition,
            percent,
        } => actor.delete_records(topic, *partition, *percent).await,
        Operation::AlterConfig { topic, key, value } => {
            actor.alter_config(topic, key, value).await;
        }
        Operation::Crash => actor.crash(),
        Operation::Stall { millis } => actor.stall(*millis).await,
        Operation::Malformed { seed } => actor.malformed(*seed).await,
        Operation::Abandon { bytes } => actor.abandon(*bytes).await,
        Operation::Deaf { millis } => actor.deaf(*millis).await,
    }
}
