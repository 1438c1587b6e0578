//! `cargo xtask import`: the facts of Kafka's message schemas, from the JSON inside its released jars.
#![allow(
    clippy::disallowed_methods,
    reason = "a chore is outside the simulated world"
)]

use std::collections::BTreeMap;
use std::fs;
use std::io::Read;
use std::path::Path;

use anyhow::{Context, Result, bail, ensure};
use serde_json::Value;

use crate::notation::{Api, Field, Message, Role, Schema, Struct, Versions, snake_case};
use crate::tree;

/// Where the notation lies.
pub const SCHEMA_FOLDER: &str = "src/protocol/schema";

/// Jar name (before the version) and the folder in it that holds schemas.
const SOURCES: [(&str, &str); 7] = [
    ("kafka-clients", "common/message/"),
    ("kafka-metadata", "common/metadata/"),
    ("kafka-raft", "common/message/"),
    ("kafka-group-coordinator", "common/message/"),
    ("kafka-transaction-coordinator", "common/message/"),
    ("kafka-share-coordinator", "common/message/"),
    ("kafka-storage", "message/"),
];

/// The release whose facts we carry.
const RELEASE: &str = "4.3.1";

/// Reads the jars in `libs` and writes the notation, or only compares it.
pub fn run(libs: &Path, check: bool) -> Result<()> {
    let files = schemas(libs)?;
    tree::write_or_check(SCHEMA_FOLDER, "schema", files, |_| true, check)
}

/// Path below [`SCHEMA_FOLDER`] and text of every schema.
fn schemas(libs: &Path) -> Result<BTreeMap<String, String>> {
    let mut apis: BTreeMap<i16, Schema> = BTreeMap::new();
    let mut files = BTreeMap::new();
    for (jar, folder) in SOURCES {
        for (name, json) in resources(&libs.join(format!("{jar}-{RELEASE}.jar")), folder)? {
            let context = || format!("{jar}: {name}");
            let Some(message) = message(jar, &json).with_context(context)? else {
                continue;
            };
            if matches!(message.role, Role::Request | Role::Response) {
                add_to_api(&mut apis, message, &json).with_context(context)?;
                continue;
            }
            let folder = if message.role.is_on_the_wire() {
                ""
            } else {
                "stored/"
            };
            let file = format!("{folder}{}.schema", snake_case(&message.name));
            files.insert(
                file,
                Schema {
                    api: None,
                    messages: vec![message],
                }
                .to_string(),
            );
        }
    }
    for schema in apis.into_values() {
        let api = schema
            .api
            .as_ref()
            .context("a response without a request")?;
        ensure!(
            schema.messages.len() == 2,
            "{} is not a request and a response",
            api.name
        );
        files.insert(
            format!("{}.schema", snake_case(&api.name)),
            schema.to_string(),
        );
    }
    Ok(files)
}

fn add_to_api(apis: &mut BTreeMap<i16, Schema>, mut message: Message, json: &Value) -> Result<()> {
    let key = message.key.take().context("no apiKey")?;
    let schema = apis.entry(key).or_insert(Schema {
        api: None,
        messages: Vec::new(),
    });
    if message.role == Role::Response {
        schema.messages.push(message);
        return Ok(());
    }
    let listeners = json["listeners"].as_array().context("no listeners")?;
    let listeners = listeners.iter().map(|name| Ok(text(name)?.to_owned()));
    let name = message
        .name
        .strip_suffix("Request")
        .context("not named a request")?
        .to_owned();
    schema.api = Some(Api {
        key,
        name,
        listeners: listeners.collect::<Result<_>>()?,
    });
    schema.messages.insert(0, message);
    Ok(())
}

/// Name and content of each JSON resource directly in `folder` of a jar.
fn resources(jar: &Path, folder: &str) -> Result<Vec<(String, Value)>> {
    let file = fs::File::open(jar).with_context(|| format!("opening {}", jar.display()))?;
    let mut archive = zip::ZipArchive::new(file)?;
    let mut found = Vec::new();
    for index in 0..archive.len() {
        let mut entry = archive.by_index(index)?;
        let Some(name) = entry.name().strip_prefix(folder) else {
            continue;
        };
        let Some(name) = name.strip_suffix(".json") else {
            continue;
        };
        let name = name.to_owned();
        let mut commented = String::new();
        entry.read_to_string(&mut commented)?;
        // The resources have whole-line comments, which JSON has not.
        let json: String = commented
            .lines()
            .filter(|line| !line.trim_start().starts_with("//"))
            .flat_map(|line| [line, "\n"])
            .collect();
        found.push((
            name.clone(),
            serde_json::from_str(&json).with_context(|| name)?,
        ));
    }
    ensure!(!found.is_empty(), "no schema in {} {folder}", jar.display());
    Ok(found)
}

fn text(value: &Value) -> Result<&str> {
    value
        .as_str()
        .with_context(|| format!("{value} is not a string"))
}

fn versions(value: &Value) -> Result<Versions> {
    if value.is_null() {
        Ok(Versions::NONE)
    } else {
        Versions::parse(text(value)?)
    }
}

fn role(jar: &str, kind: &str) -> Result<Role> {
    Ok(match (jar, kind) {
        (_, "request") => Role::Request,
        (_, "response") => Role::Response,
        (_, "header") => Role::Header,
        (_, "data") => Role::Data,
        ("kafka-metadata", "metadata") => Role::Metadata,
        ("kafka-storage", "metadata") => Role::RemoteLog,
        ("kafka-group-coordinator", "coordinator-key") => Role::GroupKey,
        ("kafka-group-coordinator", "coordinator-value") => Role::GroupValue,
        ("kafka-transaction-coordinator", "coordinator-key") => Role::TransactionKey,
        ("kafka-transaction-coordinator", "coordinator-value") => Role::TransactionValue,
        ("kafka-share-coordinator", "coordinator-key") => Role::ShareKey,
        ("kafka-share-coordinator", "coordinator-value") => Role::ShareValue,
        _ => bail!("unknown type {kind:?} in {jar}"),
    })
}

/// The facts of one schema; `None` if no version of it is left.
fn message(jar: &str, json: &Value) -> Result<Option<Message>> {
    let valid = versions(&json["validVersions"])?;
    if valid.is_empty() {
        return Ok(None);
    }
    let mut structs = Vec::new();
    for part in json["commonStructs"].as_array().into_iter().flatten() {
        structs.push(Struct {
            name: text(&part["name"])?.to_owned(),
            versions: versions(&part["versions"])?,
            fields: fields(&part["fields"])?,
        });
    }
    let key = json["apiKey"].as_i64().map(i16::try_from).transpose()?;
    Ok(Some(Message {
        role: role(jar, text(&json["type"])?)?,
        key,
        name: text(&json["name"])?.to_owned(),
        valid,
        flexible: versions(&json["flexibleVersions"])?,
        is_unstable: json["latestVersionUnstable"].as_bool().unwrap_or(false),
        structs,
        fields: fields(&json["fields"])?,
    }))
}

fn fields(json: &Value) -> Result<Vec<Field>> {
    json.as_array().into_iter().flatten().map(field).collect()
}

fn field(json: &Value) -> Result<Field> {
    let name = text(&json["name"])?;
    let tagged = versions(&json["taggedVersions"])?;
    let mut present = versions(&json["versions"])?;
    if present.is_empty() {
        present = tagged;
    }
    ensure!(
        tagged.is_empty() || tagged == present,
        "{name} is tagged in some versions only"
    );
    let tag = json["tag"].as_u64().map(u32::try_from).transpose()?;
    ensure!(
        tag.is_some() != tagged.is_empty(),
        "{name} has a tag without versions, or versions without"
    );
    let is_inflexible = match json["flexibleVersions"].as_str() {
        None => false,
        Some("none") => true,
        Some(other) => bail!("{name} is flexible in versions {other} of its own"),
    };
    Ok(Field {
        name: name.to_owned(),
        kind: text(&json["type"])?.to_owned(),
        versions: present,
        nullable: versions(&json["nullableVersions"])?,
        tag,
        default: default(&json["default"])?,
        is_ignorable: json["ignorable"].as_bool().unwrap_or(false),
        is_map_key: json["mapKey"].as_bool().unwrap_or(false),
        is_inflexible,
        fields: fields(&json["fields"])?,
    })
}

/// A default, decimal if a number. JSON's null is how some schemas say "none given", the word "null" says null.
fn default(json: &Value) -> Result<Option<String>> {
    let text = match json {
        Value::Null => return Ok(None),
        Value::String(text) if text.is_empty() => return Ok(None),
        Value::String(text) => text.clone(),
        Value::Number(number) => number.to_string(),
        Value::Bool(value) => value.to_string(),
        other => bail!("default {other}"),
    };
    Ok(Some(match text.strip_prefix("0x") {
        Some(digits) => i64::from_str_radix(digits, 16)?.to_string(),
        None => text,
    }))
}
