//! The parts of the documentation that are made from the code are what the code says.
//!
//! `MILLRACE_UPDATE_DOCS=1 cargo test --test docs` writes them anew.
#![allow(
    clippy::disallowed_methods,
    reason = "this compares files of the source tree and runs no broker"
)]

use std::fmt::Write as _;
use std::path::Path;
use std::sync::{Mutex, PoisonError};

use admin::figures::Kind;
use controller::configs::{ConfigKey, Effect, broker_keys, topic_keys};
use protocol::ApiKey;

const BEGIN: &str = "<!-- made by `cargo test --test docs`: begin -->";
const END: &str = "<!-- made by `cargo test --test docs`: end -->";
const FIGURES_BEGIN: &str = "<!-- figures, made by `cargo test --test docs`: begin -->";
const FIGURES_END: &str = "<!-- figures, made by `cargo test --test docs`: end -->";

/// Two tests write to the same document.
static WRITING: Mutex<()> = Mutex::new(());

/// Puts `made` between the markers of a document, or compares it with what is there.
fn check(document: &str, made: &str) {
    check_between(document, BEGIN, END, made);
}

fn check_between(document: &str, begin: &str, end: &str, made: &str) {
    let _one_writer = WRITING.lock().unwrap_or_else(PoisonError::into_inner);
    let path = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("docs")
        .join(document);
    let present = std::fs::read_to_string(&path).expect("the document is there");
    let (head, rest) = present
        .split_once(begin)
        .expect("the first marker is there");
    let (_, tail) = rest.split_once(end).expect("the second marker is there");
    let fresh = format!("{head}{begin}\n\n{made}\n{end}{tail}");
    if std::env::var_os("MILLRACE_UPDATE_DOCS").is_some() {
        std::fs::write(&path, fresh).expect("the document can be written");
        return;
    }
    assert!(
        present == fresh,
        "docs/{document} is stale: MILLRACE_UPDATE_DOCS=1 cargo test --test docs"
    );
}

#[test]
fn protocol_matrix_is_fresh() {
    let routes = broker::handlers::routes();
    let mut table =
        String::from("| key | API | Kafka 4.3.1 | served | told |\n|---|---|---|---|---|\n");
    for &key in ApiKey::ALL {
        let schema = key.versions();
        let (served, told) = match routes.get(key) {
            Some(route) => (range(&route.versions), range(&route.advertised)),
            None => ("-".to_owned(), "-".to_owned()),
        };
        let (code, name) = (key.code(), key.name());
        writeln!(
            table,
            "| {code} | {name} | {} | {served} | {told} |",
            range(&schema)
        )
        .expect("a string can be written to");
    }
    check("PROTOCOL.md", &table);
}

fn range(versions: &std::ops::RangeInclusive<i16>) -> String {
    match (versions.start(), versions.end()) {
        (first, last) if first == last => first.to_string(),
        (first, last) => format!("{first}-{last}"),
    }
}

#[test]
fn table_of_figures_is_fresh() {
    let mut table = String::from("| name | sort | labels | what |\n|---|---|---|---|\n");
    for figure in admin::figures::ALL {
        let kind = match figure.kind {
            Kind::Counter | Kind::Count => "counter",
            Kind::Gauge => "gauge",
        };
        let labels: Vec<_> = figure
            .labels
            .iter()
            .map(|label| format!("`{label}`"))
            .collect();
        let (name, labels) = (figure.shown_name(), labels.join(" "));
        writeln!(table, "| `{name}` | {kind} | {labels} | {} |", figure.help)
            .expect("a string can be written to");
    }
    check_between("OPERATIONS.md", FIGURES_BEGIN, FIGURES_END, &table);
}

#[test]
fn config_tables_are_fresh() {
    let mut made = String::new();
    for (title, keys) in [
        ("Topic configs", topic_keys()),
        ("Broker configs", broker_keys()),
    ] {
        let shown = keys.values().filter(|key| !key.internal);
        let (acted, others): (Vec<_>, Vec<_>) = shown.partition(|key| key.effect == Effect::Acted);
        write!(
            made,
            "### {title} that are acted upon\n\n{}\n",
            acted_table(&acted)
        )
        .expect("a string can be written to");
        write!(
            made,
            "### {title} that are not acted upon\n\n{}\n",
            other_table(&others)
        )
        .expect("a string can be written to");
    }
    check("OPERATIONS.md", made.trim_end());
}

fn default(key: &ConfigKey) -> String {
    match key.default {
        None => "null".to_owned(),
        Some("") => "empty".to_owned(),
        Some(default) => format!("`{default}`"),
    }
}

fn acted_table(keys: &[&ConfigKey]) -> String {
    let mut table = String::from("| key | default | meaning |\n|---|---|---|\n");
    for key in keys {
        writeln!(table, "| `{}` | {} | {} |", key.name, default(key), key.doc)
            .expect("a string can be written to");
    }
    table
}

fn other_table(keys: &[&ConfigKey]) -> String {
    let mut table =
        String::from("| key | default | may be set to | because |\n|---|---|---|---|\n");
    for key in keys {
        let (allowed, reason) = match &key.effect {
            Effect::Acted => unreachable!("these are in the other table"),
            Effect::Accepted(reason) => ("any valid value".to_owned(), reason.text()),
            Effect::Only(values, reason) if values.is_empty() => {
                ("nothing".to_owned(), reason.text())
            }
            Effect::Only(values, reason) => (format!("`{}`", values.join("`, `")), reason.text()),
        };
        writeln!(
            table,
            "| `{}` | {} | {allowed} | {reason} |",
            key.name,
            default(key)
        )
        .expect("a string can be written to");
    }
    table
}
