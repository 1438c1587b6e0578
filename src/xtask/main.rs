//! Chores of the project: `cargo xtask <chore>`.

mod codegen;
mod golden;
mod import;
mod notation;
mod tree;

use std::path::PathBuf;

use clap::Parser;

/// Chores of the project.
#[derive(Parser)]
enum Chore {
    /// Write the Rust of every message and stored record from src/protocol/schema.
    Codegen {
        /// Compare only, and fail if anything differs.
        #[arg(long)]
        check: bool,
    },
    /// Write tests/golden/messages.txt: bytes of every message and version as Kafka's own classes give them.
    Golden {
        /// Folder with Kafka's jars.
        #[arg(long)]
        libs: PathBuf,
        /// Compare only, and fail if anything differs.
        #[arg(long)]
        check: bool,
    },
    /// Write src/protocol/schema from the JSON resources inside Kafka's jars.
    Import {
        /// Folder with Kafka's jars.
        #[arg(long)]
        libs: PathBuf,
        /// Compare only, and fail if anything differs.
        #[arg(long)]
        check: bool,
    },
}

fn main() -> anyhow::Result<()> {
    match Chore::parse() {
        Chore::Codegen { check } => codegen::run(check),
        Chore::Golden { libs, check } => golden::run(&libs, check),
        Chore::Import { libs, check } => import::run(&libs, check),
    }
}
