//! The jars of Apache Kafka, from Maven by `tests/clients/java/pom.xml`.

use anyhow::{Result, ensure};
use std::path::{Path, PathBuf};
use std::process::Command;

/// The folder that holds the jars; fills it when they are not there yet.
///
/// `MILLRACE_KAFKA_LIBS` names a folder that holds them already.
pub fn libraries(root: &Path) -> Result<PathBuf> {
    if let Some(given) = std::env::var_os("MILLRACE_KAFKA_LIBS") {
        return Ok(PathBuf::from(given));
    }
    let folder = root.join("target/clients/kafka-libs");
    let complete = folder.join(".complete");
    let pom = root.join("tests/clients/java/pom.xml");
    let wanted = std::fs::read_to_string(&pom)?;
    if std::fs::read_to_string(&complete).is_ok_and(|have| have == wanted) {
        return Ok(folder);
    }
    println!("fetching the jars of Apache Kafka");
    let status = Command::new("mvn")
        .args(["--quiet", "--batch-mode", "--file"])
        .arg(&pom)
        .arg("dependency:copy-dependencies")
        .arg(format!("-DoutputDirectory={}", folder.display()))
        .status()?;
    ensure!(status.success(), "mvn ended with {status}");
    std::fs::write(complete, wanted)?;
    Ok(folder)
}
