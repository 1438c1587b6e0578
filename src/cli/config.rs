//! A node's config: the file, what the command line puts over it, or the embedded default.

use std::collections::BTreeMap;
use std::io::Cursor;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use broker::config::{StaticConfig, Warning};
use java_properties::PropertiesIter;
use runtime::disk::Disk;

/// Where the embedded default keeps its data.
const EMBEDDED_LOG_DIR: &str = "./millrace-data";

/// Where a node's config comes from.
#[derive(clap::Args)]
pub(crate) struct ConfigArguments {
    /// A file in the format of Kafka's server.properties.
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Put a value over the file's: --override log.dirs=/data. May be repeated.
    #[arg(long = "override", value_name = "KEY=VALUE")]
    pub overrides: Vec<String>,
}

impl ConfigArguments {
    /// Whether no file was given: the embedded default, which formats itself.
    pub fn is_embedded(&self) -> bool {
        self.config.is_none()
    }

    /// Reads the file and puts the overrides over it.
    pub async fn read(&self, disk: &Disk) -> Result<(StaticConfig, Vec<Warning>)> {
        let embedded = StaticConfig::embedded(EMBEDDED_LOG_DIR);
        let mut texts = match &self.config {
            None => embedded.clone(),
            Some(path) => read_properties(disk, path).await?,
        };
        for given in &self.overrides {
            let Some((key, value)) = given.split_once('=') else {
                bail!("--override {given}: expected KEY=VALUE");
            };
            texts.insert(key.trim().to_owned(), value.trim().to_owned());
        }
        let (config, mut warnings) = StaticConfig::parse(&texts)?;
        if self.is_embedded() {
            // Nobody has asked for what is embedded, so nobody is warned of it.
            warnings.retain(|warning| embedded.get(warning.key()) != texts.get(warning.key()));
        }
        Ok((config, warnings))
    }
}

async fn read_properties(disk: &Disk, path: &Path) -> Result<BTreeMap<String, String>> {
    let named = || format!("the config file {}", path.display());
    let content = disk.read_file(path).await.with_context(named)?;
    let mut reader = PropertiesIter::new_with_encoding(Cursor::new(content), encoding_rs::UTF_8);
    let mut texts = BTreeMap::new();
    let put = |key, value| {
        texts.insert(key, value);
    };
    reader.read_into(put).with_context(named)?;
    Ok(texts)
}
