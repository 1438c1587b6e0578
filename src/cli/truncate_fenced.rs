//! `millrace truncate-fenced`: cuts a partition's log where it is damaged, so that the partition is served again.

use std::path::PathBuf;

use anyhow::{Context, Result, bail};
use runtime::Clock;
use runtime::disk::Disk;
use storage::{FileCache, Log, LogConfig, LogDirectory, OpenError, PartitionName, truncate_fenced};

use crate::config::ConfigArguments;

/// Files that may be open at once.
const OPEN_FILES_MAX: usize = 16;

/// What `truncate-fenced` is told.
#[derive(clap::Args)]
pub(crate) struct Arguments {
    #[command(flatten)]
    config: ConfigArguments,
    /// The partition, as its directory is called: TOPIC-NUMBER.
    #[arg(long)]
    partition: String,
    /// Do it. Without, it is only said what would be lost.
    #[arg(long)]
    yes: bool,
    /// Say what was done as JSON.
    #[arg(long)]
    json: bool,
}

/// Cuts, or says where it would.
pub(crate) fn run(arguments: &Arguments) -> Result<()> {
    runtime::task::block_on(async {
        let disk = Disk::new();
        let (config, _) = arguments.config.read(&disk).await?;
        let name = partition_name(&arguments.partition)?;
        let path = find(&disk, &config.log_dirs, &name).await?;
        let files = FileCache::new(disk, OPEN_FILES_MAX);
        let (directory, _) = LogDirectory::open(&files, &path).await?;
        let clock = Clock::start();
        let log_config = LogConfig::default();
        // What is below the proven offset is looked at again even after a clean stop: an operator who asks has reason.
        let opened = Log::open(&directory, &name, log_config.clone(), false, clock.now()).await;
        let fence = match opened {
            Err(OpenError::Fenced(fence)) => fence,
            Err(error) => return Err(error.into()),
            Ok((log, _)) => {
                close(log, &directory).await?;
                bail!("{name} is not fenced: nothing was cut");
            }
        };
        if !arguments.yes {
            bail!(
                "{fence}. Everything from offset {} on would be lost: --yes does it",
                fence.offset
            );
        }
        let (log, recovered) = truncate_fenced(&directory, &name, log_config, clock.now()).await?;
        let end = log.log_end_offset();
        close(log, &directory).await?;
        let lost = recovered.cut_bytes + recovered.dropped_bytes;
        if arguments.json {
            let said = serde_json::json!({ "partition": name.to_string(), "endOffset": end,
                "provenOffset": fence.proven_offset, "lostBytes": lost, "reason": fence.reason });
            println!("{said}");
        } else {
            println!(
                "{name} ends at offset {end} now; {lost} bytes were cut off, to offset {} or more",
                fence.proven_offset
            );
        }
        Ok(())
    })
}

/// Makes what recovery did durable. The directory is left without the marker of a clean stop, so that the next start
/// recovers every log of it.
async fn close(mut log: Log, directory: &LogDirectory) -> Result<()> {
    let finished = log.begin_close().await;
    log.finish(finished)?;
    directory.write_checkpoints().await?;
    Ok(())
}

/// `TOPIC-NUMBER`.
fn partition_name(given: &str) -> Result<PartitionName> {
    let parsed = given
        .rsplit_once('-')
        .filter(|(topic, _)| !topic.is_empty())
        .and_then(|(topic, number)| {
            Some(PartitionName::new(
                topic,
                number.parse::<u16>().ok()?.into(),
            ))
        });
    parsed.with_context(|| format!("--partition {given}: expected TOPIC-NUMBER"))
}

/// The log directory that holds the partition.
async fn find(disk: &Disk, directories: &[String], name: &PartitionName) -> Result<PathBuf> {
    for directory in directories {
        let path = PathBuf::from(directory);
        if disk.exists(path.join(name.to_string())).await? {
            return Ok(path);
        }
    }
    bail!("no log directory holds {name}: {}", directories.join(", "))
}
