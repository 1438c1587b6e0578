//! `millrace perf`: load for any broker that speaks Kafka's protocol, and what it took.

mod consume;
mod latency;
mod load;
mod pace;
mod produce;
mod report;

use anyhow::Result;
use clap::Subcommand;

use crate::cluster::Cluster;

/// What `perf` is told.
#[derive(clap::Args)]
pub(crate) struct Arguments {
    #[command(flatten)]
    cluster: Cluster,
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Produce at a rate, or as fast as may be, and measure how long acknowledgements take.
    Produce(load::Load),
    /// Consume as fast as may be.
    Consume(consume::Arguments),
    /// Produce at a rate and measure how long records take to a consumer.
    Latency(load::Load),
}

/// Does what was asked.
pub(crate) fn run(arguments: &Arguments) -> Result<()> {
    runtime::task::block_on(async {
        let cluster = &arguments.cluster;
        let report = match &arguments.command {
            Command::Produce(load) => produce::run(cluster, load).await?,
            Command::Consume(asked) => consume::run(cluster, asked).await?,
            Command::Latency(load) => latency::run(cluster, load).await?,
        };
        report.say(cluster.json)
    })
}
