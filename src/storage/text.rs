//! The small text files: checkpoints, epoch history, partition and directory properties.

use std::collections::BTreeMap;
use std::fmt::Write;

use types::{LeaderEpoch, NodeId, Offset, Uuid};

use crate::names::PartitionName;

/// Why a text file cannot be understood.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum TextError {
    /// The file's version is not one we know.
    #[error("version {0:?} is not known")]
    Version(String),
    /// A line is not of the form it should be.
    #[error("line {line}: expected {expected}, found {found:?}")]
    Line {
        /// The line's number, from 1.
        line: usize,
        /// What should stand there.
        expected: &'static str,
        /// What stands there.
        found: String,
    },
    /// The file announces another number of entries than it has.
    #[error("{announced} entries are announced, {found} are there")]
    Count {
        /// The number in the second line.
        announced: usize,
        /// The number of lines that follow.
        found: usize,
    },
    /// A key that must be there is missing.
    #[error("the key {0} is missing")]
    Missing(&'static str),
    /// The file is not UTF-8.
    #[error("the file is not text")]
    NotText,
}

/// Bytes as text.
///
/// # Errors
/// [`TextError::NotText`] if they are not UTF-8.
pub fn utf8(bytes: &[u8]) -> Result<&str, TextError> {
    std::str::from_utf8(bytes).map_err(|_| TextError::NotText)
}

fn line_error(index: usize, expected: &'static str, found: &str) -> TextError {
    TextError::Line {
        line: index + 1,
        expected,
        found: found.to_owned(),
    }
}

/// The entry lines of a checkpoint file: version 0, then a count, then as many lines. Kafka makes the files empty
/// first; such a file has no entries.
fn checkpoint_lines(text: &str) -> Result<impl Iterator<Item = (usize, &str)>, TextError> {
    let mut lines = text.lines().enumerate();
    if text.is_empty() {
        return Ok(lines);
    }
    let version = lines.next().map_or("", |(_, line)| line.trim());
    if version != "0" {
        return Err(TextError::Version(version.to_owned()));
    }
    let (index, count) = lines.next().unwrap_or((1, ""));
    let announced: usize = count
        .trim()
        .parse()
        .map_err(|_| line_error(index, "a number of entries", count))?;
    let found = text.lines().count() - 2;
    if announced != found {
        return Err(TextError::Count { announced, found });
    }
    Ok(lines)
}

/// Reads a checkpoint of one offset per partition (`recovery-point-offset-checkpoint` and its like).
///
/// # Errors
/// If the text is not such a file.
pub fn parse_offsets(text: &str) -> Result<BTreeMap<PartitionName, Offset>, TextError> {
    let mut offsets = BTreeMap::new();
    for (index, line) in checkpoint_lines(text)? {
        let wrong = || line_error(index, "topic, partition, offset", line);
        let mut words = line.split_ascii_whitespace();
        let (Some(topic), Some(partition), Some(offset), None) =
            (words.next(), words.next(), words.next(), words.next())
        else {
            return Err(wrong());
        };
        let partition = partition.parse().map_err(|_| wrong())?;
        let offset = offset.parse().map_err(|_| wrong())?;
        offsets.insert(PartitionName::new(topic, partition), offset);
    }
    Ok(offsets)
}

/// Writes a checkpoint of one offset per partition.
pub fn format_offsets(offsets: &BTreeMap<PartitionName, Offset>) -> String {
    let mut text = format!("0\n{}\n", offsets.len());
    for (name, offset) in offsets {
        writeln!(text, "{} {} {offset}", name.topic, name.partition).expect("a string takes all");
    }
    text
}

/// Reads a `leader-epoch-checkpoint`: epochs with their first offsets, in order.
///
/// # Errors
/// If the text is not such a file.
pub fn parse_leader_epochs(text: &str) -> Result<Vec<(LeaderEpoch, Offset)>, TextError> {
    let mut epochs = Vec::new();
    for (index, line) in checkpoint_lines(text)? {
        let entry = line
            .trim()
            .split_once(' ')
            .and_then(|(epoch, offset)| Some((epoch.parse().ok()?, offset.trim().parse().ok()?)));
        epochs.push(entry.ok_or_else(|| line_error(index, "epoch, first offset", line))?);
    }
    Ok(epochs)
}

/// Writes a `leader-epoch-checkpoint`.
pub fn format_leader_epochs(epochs: &[(LeaderEpoch, Offset)]) -> String {
    let mut text = format!("0\n{}\n", epochs.len());
    for (epoch, offset) in epochs {
        writeln!(text, "{epoch} {offset}").expect("a string takes all");
    }
    text
}

/// Reads the topic id from a `partition.metadata`.
///
/// # Errors
/// If the text is not such a file.
pub fn parse_partition_metadata(text: &str) -> Result<Uuid, TextError> {
    let mut lines = text.lines().enumerate();
    let (_, version) = lines.next().unwrap_or((0, ""));
    match version
        .split_once(':')
        .map(|(key, value)| (key.trim(), value.trim()))
    {
        Some(("version", "0")) => {}
        _ => return Err(TextError::Version(version.to_owned())),
    }
    let (index, line) = lines.next().unwrap_or((1, ""));
    match line
        .split_once(':')
        .map(|(key, value)| (key.trim(), value.trim().parse()))
    {
        Some(("topic_id", Ok(id))) => Ok(id),
        _ => Err(line_error(index, "topic_id: a topic's id", line)),
    }
}

/// Writes a `partition.metadata`.
pub fn format_partition_metadata(topic_id: Uuid) -> String {
    format!("version: 0\ntopic_id: {topic_id}")
}

/// What `meta.properties` says: whose log directory this is.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct MetaProperties {
    /// The node that owns the directory.
    pub node_id: NodeId,
    /// The cluster, in Kafka's text form (any text, by custom a [`Uuid`]'s).
    pub cluster_id: String,
    /// The directory itself; absent in directories formatted before Kafka 3.7.
    pub directory_id: Option<Uuid>,
}

impl MetaProperties {
    /// Reads `meta.properties`, version 1.
    ///
    /// # Errors
    /// If the version is another, or a key is missing or wrong.
    pub fn parse(text: &str) -> Result<MetaProperties, TextError> {
        let mut values = BTreeMap::new();
        for (index, line) in text.lines().enumerate() {
            let line = line.trim();
            if line.is_empty() || line.starts_with(['#', '!']) {
                continue;
            }
            let (key, value) = line
                .split_once('=')
                .ok_or_else(|| line_error(index, "key=value", line))?;
            // Java escapes these in values of property files.
            let value = value.trim().replace("\\:", ":").replace("\\=", "=");
            values.insert(key.trim(), (index, value));
        }
        match values.get("version") {
            Some((_, version)) if version == "1" => {}
            Some((_, version)) => return Err(TextError::Version(version.clone())),
            None => return Err(TextError::Missing("version")),
        }
        let (index, node) = values.get("node.id").ok_or(TextError::Missing("node.id"))?;
        let node_id = node
            .parse()
            .map_err(|_| line_error(*index, "a node's id", node))?;
        let (_, cluster_id) = values
            .get("cluster.id")
            .ok_or(TextError::Missing("cluster.id"))?;
        let directory_id = match values.get("directory.id") {
            None => None,
            Some((index, text)) => Some(
                text.parse()
                    .map_err(|_| line_error(*index, "a directory's id", text))?,
            ),
        };
        Ok(MetaProperties {
            node_id,
            cluster_id: cluster_id.clone(),
            directory_id,
        })
    }

    /// Writes `meta.properties`, version 1.
    pub fn format(&self) -> String {
        let mut text = String::from("#\n");
        writeln!(text, "cluster.id={}", self.cluster_id).expect("a string takes all");
        if let Some(id) = self.directory_id {
            writeln!(text, "directory.id={id}").expect("a string takes all");
        }
        writeln!(text, "node.id={}\nversion=1", self.node_id).expect("a string takes all");
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn offsets_come_back() {
        let text = "0\n2\norders 0 12\n__consumer_offsets 49 0\n";
        let offsets = parse_offsets(text).expect("a good file");
        assert_eq!(offsets[&PartitionName::new("orders", 0)], 12);
        assert_eq!(parse_offsets(&format_offsets(&offsets)), Ok(offsets));
        assert_eq!(parse_offsets(""), Ok(BTreeMap::new()));
        let table = [
            ("\n", TextError::Version(String::new())),
            ("1\n0\n", TextError::Version("1".into())),
            ("0\nx\n", line_error(1, "a number of entries", "x")),
            (
                "0\n2\na 0 0\n",
                TextError::Count {
                    announced: 2,
                    found: 1,
                },
            ),
            (
                "0\n1\na 0\n",
                line_error(2, "topic, partition, offset", "a 0"),
            ),
            (
                "0\n1\na b 0\n",
                line_error(2, "topic, partition, offset", "a b 0"),
            ),
        ];
        for (text, error) in table {
            assert_eq!(parse_offsets(text), Err(error), "{text:?}");
        }
    }

    #[test]
    fn epochs_come_back() {
        let epochs = vec![(0, 0), (3, 120)];
        assert_eq!(format_leader_epochs(&epochs), "0\n2\n0 0\n3 120\n");
        assert_eq!(parse_leader_epochs("0\n2\n0 0\n3 120\n"), Ok(epochs));
        assert!(parse_leader_epochs("0\n1\n7\n").is_err());
    }

    #[test]
    fn partition_metadata_comes_back() {
        let id = Uuid::from_u128(0xfeed);
        assert_eq!(
            parse_partition_metadata(&format_partition_metadata(id)),
            Ok(id)
        );
        assert!(parse_partition_metadata("version: 1\ntopic_id: x").is_err());
        assert!(parse_partition_metadata("version: 0\ntopic_id: x").is_err());
        assert!(parse_partition_metadata("").is_err());
    }

    #[test]
    fn meta_properties_come_back() {
        let properties = MetaProperties {
            node_id: 1,
            cluster_id: "MkU3OEVBNTcwNTJENDM2Qg".into(),
            directory_id: Some(Uuid::from_u128(9)),
        };
        assert_eq!(MetaProperties::parse(&properties.format()), Ok(properties));
        let old = MetaProperties::parse("#\n#date\ncluster.id=a\\:b\nversion=1\nnode.id=7\n");
        let expected = MetaProperties {
            node_id: 7,
            cluster_id: "a:b".into(),
            directory_id: None,
        };
        assert_eq!(old, Ok(expected));
        assert_eq!(
            MetaProperties::parse("version=1\ncluster.id=x"),
            Err(TextError::Missing("node.id"))
        );
        assert_eq!(
            MetaProperties::parse("version=0\nbroker.id=1"),
            Err(TextError::Version("0".into()))
        );
    }
}
