//! `millrace perf produce`.

use anyhow::Result;
use runtime::Clock;

use super::load::{self, Load};
use super::report::Report;
use crate::cluster::Cluster;

/// Loads the cluster, and says what its acknowledgements took.
///
/// # Errors
/// Those of the connections and of the topic; records that fail are counted.
pub(super) async fn run(cluster: &Cluster, load: &Load) -> Result<Report> {
    let clock = Clock::start();
    let sent = load::send(cluster, load, &clock, None).await?;
    Ok(Report {
        records: sent.records,
        bytes: sent.records * load.size_bytes as u64,
        failed: sent.failed,
        elapsed: sent.elapsed,
        cpu_time: sent.cpu_time,
        times: vec![("acknowledged", sent.times)],
    })
}
