//! One message's Rust: its structures, their defaults, and straight-line code that reads and writes them.

use std::collections::BTreeMap;
use std::fmt::Write;

use anyhow::{Context, Result, bail, ensure};

use super::fields::{Kind, Place, When, when};
use super::first_version;
use crate::notation::{Field, Message, Role, Schema, Versions, snake_case};

/// A structure of the message, the message itself included.
struct Part<'a> {
    name: &'a str,
    /// Versions in which it occurs.
    versions: Versions,
    fields: &'a [Field],
}

struct Generator<'a> {
    message: &'a Message,
    parts: BTreeMap<&'a str, Part<'a>>,
    /// In the order of their first use.
    order: Vec<&'a str>,
}

/// What generated code may need of `wire`.
const WIRE_NAMES: [&str; 11] = [
    "DecodeError",
    "Decoder",
    "EncodeError",
    "Encoder",
    "Message",
    "Part",
    "Records",
    "TagWriter",
    "UnknownTaggedFields",
    "absent",
    "present",
];

fn uses_word(text: &str, word: &str) -> bool {
    text.split(|letter: char| !letter.is_alphanumeric() && letter != '_')
        .any(|found| found == word)
}

/// The file of one message.
pub fn file(schema: &Schema, message: &Message) -> Result<String> {
    ensure!(message.valid.highest < i16::MAX, "versions without end");
    let mut generator = Generator {
        message,
        parts: BTreeMap::new(),
        order: Vec::new(),
    };
    generator.add(&message.name, message.valid, &message.fields)?;
    for part in &message.structs {
        generator.add(&part.name, part.versions.and(message.valid), &part.fields)?;
    }
    let mut body = String::new();
    for name in &generator.order {
        generator.part(&mut body, &generator.parts[name])?;
    }
    generator.message(&mut body, schema)?;
    let purpose = match message.role {
        Role::Request | Role::Response => {
            let api = schema.api.as_ref().context("a request outside an API")?;
            format!("API {} ({})", api.key, api.name)
        }
        _ => match message.key {
            Some(key) => format!("record key {key}"),
            None => "no key".to_owned(),
        },
    };
    let mut text = format!(
        "//! `{}`: {purpose}, versions {}, flexible {}.\n\n",
        message.name, message.valid, message.flexible
    );
    let uses = |word: &str| uses_word(&body, word);
    for (word, import) in [("Bytes", "bytes::Bytes"), ("Uuid", "types::Uuid")] {
        if uses(word) {
            writeln!(text, "use {import};")?;
        }
    }
    let imports: Vec<&str> = WIRE_NAMES.into_iter().filter(|word| uses(word)).collect();
    writeln!(text, "\nuse crate::wire::{{{}}};", imports.join(", "))?;
    text.push_str(&body);
    Ok(text)
}

impl<'a> Generator<'a> {
    fn add(&mut self, name: &'a str, versions: Versions, fields: &'a [Field]) -> Result<()> {
        let previous = self.parts.insert(
            name,
            Part {
                name,
                versions,
                fields,
            },
        );
        ensure!(previous.is_none(), "structure {name} is defined twice");
        self.order.push(name);
        for field in fields.iter().filter(|field| !field.fields.is_empty()) {
            let word = field.kind.strip_prefix("[]").unwrap_or(&field.kind);
            self.add(word, field.versions.and(versions), &field.fields)?;
        }
        Ok(())
    }

    fn has_tags(&self, part: &Part) -> bool {
        !self.message.flexible.and(part.versions).is_empty()
    }

    fn places(&self, part: &'a Part<'a>) -> Result<Vec<Place<'a>>> {
        let mut places = Vec::new();
        for field in part.fields {
            let present = field.versions.and(part.versions);
            if present.is_empty() {
                continue;
            }
            let kind = Kind::parse(&field.kind)?;
            if let Kind::Struct(name) = &kind {
                ensure!(
                    self.parts.contains_key(name.as_str()),
                    "structure {name} is not defined"
                );
            }
            let name = match snake_case(&field.name).as_str() {
                keyword @ ("type" | "match" | "ref" | "use" | "where") => format!("r#{keyword}"),
                name => name.to_owned(),
            };
            let flexible = match when(self.message.flexible, part.versions) {
                _ if field.is_inflexible => "false",
                When::Always => "true",
                When::Never => "false",
                When::If(_) if field.tag.is_some() => "true",
                When::If(_) => "flexible",
            };
            let is_nullable = !field.nullable.and(present).is_empty();
            places.push(Place {
                field,
                path: format!("{}.{}", part.name, name.trim_start_matches("r#")),
                name,
                is_option: is_nullable || kind == Kind::Records,
                kind,
                flexible,
                part_versions: part.versions,
            });
        }
        Ok(places)
    }

    fn part(&self, text: &mut String, part: &Part) -> Result<()> {
        let places = self.places(part)?;
        let name = part.name;
        let needs_default = places
            .iter()
            .map(Place::default)
            .collect::<Result<Vec<_>>>()?
            .iter()
            .any(Option::is_some);
        writeln!(text, "\n/// {}", self.part_doc(part))?;
        let derive = if needs_default { "" } else { ", Default" };
        writeln!(
            text,
            "#[derive(Clone, Debug, PartialEq{derive})]\npub struct {name} {{"
        )?;
        for place in &places {
            writeln!(
                text,
                "/// {}\npub {}: {},",
                place.doc(),
                place.name,
                place.rust()
            )?;
        }
        if self.has_tags(part) {
            writeln!(text, "/// Tagged fields that the schema does not know.")?;
            writeln!(text, "pub unknown_tagged_fields: UnknownTaggedFields,")?;
        }
        writeln!(text, "}}")?;
        if needs_default {
            self.default(text, part, &places)?;
        }
        writeln!(text, "\nimpl Part for {name} {{")?;
        writeln!(
            text,
            "const SIZE_BYTES_MIN: usize = {};",
            self.size_min(part)?
        )?;
        self.read(text, part, &places)?;
        self.write(text, part, &places)?;
        writeln!(text, "}}")?;
        Ok(())
    }

    fn part_doc(&self, part: &Part) -> String {
        if part.name == self.message.name {
            format!("`{}` at versions {}.", part.name, self.message.valid)
        } else {
            format!(
                "Part of [`{}`] at versions {}.",
                self.message.name, part.versions
            )
        }
    }

    fn default(&self, text: &mut String, part: &Part, places: &[Place]) -> Result<()> {
        let name = part.name;
        writeln!(
            text,
            "\nimpl Default for {name} {{\nfn default() -> {name} {{\n{name} {{"
        )?;
        for place in places {
            let value = place.default()?.unwrap_or("Default::default()".to_owned());
            writeln!(text, "{}: {value},", place.name)?;
        }
        if self.has_tags(part) {
            writeln!(text, "unknown_tagged_fields: UnknownTaggedFields::new(),")?;
        }
        writeln!(text, "}}\n}}\n}}")?;
        Ok(())
    }

    /// Fewest bytes of the structure over its versions.
    fn size_min(&self, part: &Part) -> Result<usize> {
        let versions = part.versions.lowest..=part.versions.highest;
        let sizes = versions.map(|version| self.size_min_at(part, version));
        Ok(sizes
            .collect::<Result<Vec<_>>>()?
            .into_iter()
            .min()
            .unwrap_or(0))
    }

    fn size_min_at(&self, part: &Part, version: i16) -> Result<usize> {
        let is_flexible = self.message.flexible.contains(version);
        let mut size = usize::from(is_flexible);
        for place in self.places(part)? {
            if !place.field.versions.contains(version) || place.field.tag.is_some() {
                continue;
            }
            size += match &place.kind {
                Kind::Plain(_, _, size) => *size,
                Kind::String if is_flexible && !place.field.is_inflexible => 1,
                Kind::String => 2,
                Kind::Struct(_) if place.is_option => 1,
                Kind::Struct(name) => self.size_min_at(&self.parts[name.as_str()], version)?,
                _ if is_flexible => 1,
                _ => 4,
            };
        }
        Ok(size)
    }

    fn flexible_line(&self, part: &Part, body: &str) -> String {
        match when(self.message.flexible, part.versions) {
            When::If(condition) if body.contains("flexible") => {
                format!("let flexible = {condition};\n")
            }
            _ => String::new(),
        }
    }

    fn read(&self, text: &mut String, part: &Part, places: &[Place]) -> Result<()> {
        let mut body = String::new();
        for place in places.iter().filter(|place| place.field.tag.is_none()) {
            place.read(&mut body)?;
        }
        if self.has_tags(part) {
            let tags = self.read_tags(part, places)?;
            match when(self.message.flexible, part.versions) {
                When::Always => body.push_str(&tags),
                _ => writeln!(body, "if flexible {{ {tags} }}")?,
            }
        }
        let line = self.flexible_line(part, &body);
        let body = format!("{line}{body}");
        let [decoder, version] = arguments(&body, ["decoder", "version"]);
        writeln!(
            text,
            "fn read({decoder}: &mut Decoder, {version}: i16) -> Result<{}, DecodeError> {{",
            part.name
        )?;
        if body.is_empty() {
            writeln!(text, "Ok({}::default())\n}}\n", part.name)?;
        } else {
            writeln!(
                text,
                "let mut this = {}::default();\n{body}Ok(this)\n}}\n",
                part.name
            )?;
        }
        Ok(())
    }

    fn read_tags(&self, part: &Part, places: &[Place]) -> Result<String> {
        let tagged: Vec<_> = places
            .iter()
            .filter(|place| place.field.tag.is_some())
            .collect();
        if tagged.is_empty() {
            return Ok("this.unknown_tagged_fields = decoder.unknown_tags()?;\n".to_owned());
        }
        let mut text = "let mut tags = decoder.tags()?;\nwhile let Some(tag) = tags.next(decoder)? { match tag {\n".to_owned();
        let among = self.message.flexible.and(part.versions);
        for place in tagged {
            let tag = place.field.tag.context("a tag")?;
            let guard = match when(place.field.versions, among) {
                When::Always => String::new(),
                When::Never => bail!("{} is tagged in no flexible version", place.path),
                When::If(condition) => format!(" if {condition}"),
            };
            writeln!(
                text,
                "{tag}{guard} => this.{} = {},",
                place.name,
                place.read_value()
            )?;
        }
        text.push_str("_ => decoder.keep_unknown(tag, &mut this.unknown_tagged_fields)?, } }\n");
        Ok(text)
    }

    fn write(&self, text: &mut String, part: &Part, places: &[Place]) -> Result<()> {
        let mut body = String::new();
        let (mut tagged, mut has_tagged) = (String::new(), false);
        for place in places {
            if place.field.tag.is_none() {
                place.write(&mut body)?;
            } else {
                has_tagged = true;
                place.write_tagged(&mut tagged)?;
            }
        }
        let finish = match (self.has_tags(part), has_tagged) {
            (false, _) => String::new(),
            (true, true) => "tags.finish(&self.unknown_tagged_fields, encoder)?;\n".to_owned(),
            (true, false) => "encoder.unknown_tags(&self.unknown_tagged_fields)?;\n".to_owned(),
        };
        if has_tagged {
            write!(body, "let mut tags = TagWriter::default();\n{tagged}")?;
        }
        match when(self.message.flexible, part.versions) {
            When::Never => {}
            When::Always => body.push_str(&finish),
            When::If(_) => writeln!(
                body,
                "if flexible {{ {finish} }} else {{ absent(self.unknown_tagged_fields.is_empty(), \
                 \"{}.unknown_tagged_fields\", version)?; }}",
                part.name
            )?,
        }
        let line = self.flexible_line(part, &body);
        let body = format!("{line}{body}");
        let [encoder, version] = arguments(&body, ["encoder", "version"]);
        writeln!(
            text,
            "fn write(&self, {encoder}: &mut Encoder, {version}: i16) -> Result<(), EncodeError> {{"
        )?;
        writeln!(text, "{body}Ok(())\n}}")?;
        Ok(())
    }

    fn message(&self, text: &mut String, schema: &Schema) -> Result<()> {
        let message = self.message;
        let name = &message.name;
        let api = schema
            .api
            .as_ref()
            .map(|api| format!("crate::ApiKey::{}", api.name));
        writeln!(
            text,
            "\nimpl Message for {name} {{\nconst NAME: &'static str = \"{name}\";"
        )?;
        let key = api
            .as_ref()
            .map_or("None".to_owned(), |api| format!("Some({api})"));
        writeln!(text, "const API_KEY: Option<crate::ApiKey> = {key};")?;
        let Versions { lowest, highest } = message.valid;
        writeln!(
            text,
            "const VERSIONS: std::ops::RangeInclusive<i16> = {lowest}..={highest};"
        )?;
        let flexible = first_version(message.flexible.and(message.valid));
        writeln!(text, "const FLEXIBLE_FROM: Option<i16> = {flexible};\n}}")?;
        if message.role == Role::Request {
            let api = api.context("a request outside an API")?;
            let response = &schema
                .messages
                .get(1)
                .context("a request without response")?
                .name;
            writeln!(text, "\nimpl crate::Request for {name} {{")?;
            writeln!(
                text,
                "type Response = super::{response};\nconst KEY: crate::ApiKey = {api};\n}}"
            )?;
        }
        Ok(())
    }
}

/// Names of a function's arguments, with an underscore where the body does not use them.
fn arguments<const N: usize>(body: &str, names: [&str; N]) -> [String; N] {
    // A field of that name, and its path in an error, are no use of the argument.
    let names_used = |name: &str| {
        let body = body
            .replace(&format!("this.{name}"), "")
            .replace(&format!("self.{name}"), "");
        uses_word(&body.replace(&format!(".{name}\""), ""), name)
    };
    names.map(|name| {
        if names_used(name) {
            name.to_owned()
        } else {
            format!("_{name}")
        }
    })
}
