//! `millrace format`: makes a node's log directories.

use anyhow::{Result, bail};
use runtime::Clock;
use runtime::disk::Disk;
use types::{Prng, Uuid};

use crate::config::ConfigArguments;

/// What `format` is told.
#[derive(clap::Args)]
pub(crate) struct Arguments {
    #[command(flatten)]
    config: ConfigArguments,
    /// The id of the cluster, 22 characters of base64url; drawn if it is not given.
    #[arg(long, short = 't', value_name = "ID")]
    cluster_id: Option<Uuid>,
    /// Leave directories that are formatted already as they are, instead of refusing.
    #[arg(long, short = 'g')]
    ignore_formatted: bool,
    /// Say what was done as JSON.
    #[arg(long)]
    json: bool,
}

/// Formats.
pub(crate) fn run(arguments: &Arguments) -> Result<()> {
    runtime::task::block_on(async {
        let (disk, clock) = (Disk::new(), Clock::start());
        let (config, warnings) = arguments.config.read(&disk).await?;
        for warning in warnings {
            eprintln!("warning: {warning}");
        }
        let mut prng = Prng::new(runtime::entropy(), "format");
        let wanted = arguments.cluster_id.map(|id| id.to_string());
        let (cluster_id, formatted) =
            broker::node::format(&disk, &config, wanted, clock.now(), &mut prng).await?;
        let present = formatted
            .iter()
            .filter(|(_, is_new)| !**is_new)
            .map(|(path, _)| path);
        let present: Vec<String> = present.map(|path| path.display().to_string()).collect();
        if !present.is_empty() && !arguments.ignore_formatted {
            bail!(
                "formatted already: {} (--ignore-formatted leaves them as they are)",
                present.join(", ")
            );
        }
        if arguments.json {
            let directories: Vec<_> = formatted
                .iter()
                .map(|(path, is_new)| serde_json::json!({ "path": path, "formatted": is_new }))
                .collect();
            let said = serde_json::json!({ "clusterId": cluster_id, "directories": directories });
            println!("{said}");
        } else {
            for path in formatted.keys() {
                println!("{} belongs to cluster {cluster_id}", path.display());
            }
        }
        Ok(())
    })
}
