//! What the stories share: a node in a directory of its own, a raw client, and short ways to say common requests.

mod client;
mod node;
mod requests;

use std::future::Future;
use std::time::Duration;

pub use client::Kafka;
pub use node::{Broker, Data, Options, start_in};
pub use requests::*;

/// How long a story may wait for anything: far more than it takes.
pub const PATIENCE: Duration = Duration::from_secs(60);
/// How often a condition is looked at again.
const STEP: Duration = Duration::from_millis(5);

/// Runs a story, for at most twice [`PATIENCE`].
pub fn run(story: impl Future<Output = ()>) {
    runtime::task::block_on(async {
        runtime::time::timeout(PATIENCE * 2, story)
            .await
            .expect("the story hangs");
    });
}

/// Asks until the answer is something.
pub async fn until<T, F: Future<Output = Option<T>>>(what: &str, mut ask: impl FnMut() -> F) -> T {
    let asking = async {
        loop {
            if let Some(found) = ask().await {
                return found;
            }
            runtime::time::sleep(STEP).await;
        }
    };
    match runtime::time::timeout(PATIENCE, asking).await {
        Ok(found) => found,
        Err(_) => panic!("waited in vain until {what}"),
    }
}
