//! The command line of `millrace`: one binary, one subcommand a job.

mod cluster;
mod config;
mod configs;
mod consume;
mod dump;
mod format;
mod group;
mod output;
mod perf;
mod produce;
mod serve;
mod topic;
mod truncate_fenced;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// A distributed event-streaming broker that speaks Apache Kafka's protocol.
#[derive(Parser)]
#[command(name = "millrace", version, about)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

/// One module each.
#[derive(Subcommand)]
enum Command {
    /// Run a broker. Without arguments: one node on 127.0.0.1:9092, data in ./millrace-data, formatted at its first start.
    Serve(serve::Arguments),
    /// Format the log directories of a node.
    Format(format::Arguments),
    /// Topics: create, list, describe, alter, delete.
    Topic(topic::Arguments),
    /// Produce records: one for each line of standard input.
    Produce(produce::Arguments),
    /// Consume records: one line each.
    Consume(consume::Arguments),
    /// Consumer groups: list, describe, reset-offsets, delete.
    Group(group::Arguments),
    /// Configs of topics and brokers: describe, alter.
    Config(configs::Arguments),
    /// Show what is in the files of a log, without a broker.
    DumpLog(dump::Arguments),
    /// Load a cluster and measure it: produce, consume, latency from end to end.
    Perf(perf::Arguments),
    /// Cut a partition's log where it is damaged. The broker must be stopped.
    TruncateFenced(truncate_fenced::Arguments),
}

/// Runs the command line with the arguments of the process.
pub fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let outcome = match arguments.command {
        Command::Serve(arguments) => serve::run(&arguments),
        Command::Format(arguments) => format::run(&arguments),
        Command::Topic(arguments) => topic::run(&arguments),
        Command::Produce(arguments) => produce::run(&arguments),
        Command::Consume(arguments) => consume::run(&arguments),
        Command::Group(arguments) => group::run(&arguments),
        Command::Config(arguments) => configs::run(&arguments),
        Command::DumpLog(arguments) => dump::run(&arguments),
        Command::Perf(arguments) => perf::run(&arguments),
        Command::TruncateFenced(arguments) => truncate_fenced::run(&arguments),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) if output::is_closed_pipe(&error) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}
