//! Every page has one title, and it comes first.

use super::Finding;
use anyhow::Result;
use std::path::{Path, PathBuf};

/// Findings of the Markdown files among `paths`.
pub fn check(root: &Path, paths: &[PathBuf]) -> Result<Vec<Finding>> {
    let mut findings = Vec::new();
    for path in paths {
        if path.extension().is_some_and(|extension| extension == "md") {
            findings.extend(page(path, &std::fs::read_to_string(root.join(path))?));
        }
    }
    Ok(findings)
}

fn page(path: &Path, text: &str) -> Vec<Finding> {
    let mut fenced = false;
    let mut titles = Vec::new();
    let mut first = None;
    for (at, line) in text.lines().enumerate() {
        if line.trim_start().starts_with("```") {
            fenced = !fenced;
        }
        if first.is_none() && !line.trim().is_empty() {
            first = Some(at);
        }
        if !fenced && line.starts_with("# ") {
            titles.push(at);
        }
    }
    let mut findings = Vec::new();
    if first.is_none() || titles.first() != first.as_ref() {
        let message = "a page begins with its title: `# Title`";
        findings.push(Finding::new(path, first.unwrap_or(0) + 1, message));
    }
    for extra in titles.iter().skip(1) {
        findings.push(Finding::new(
            path,
            extra + 1,
            "a page has one title: use `##` for a section",
        ));
    }
    findings
}
