//! One field's Rust: its type, default, and the lines that read and write it.

use std::fmt::Write;

use anyhow::{Context, Result, bail};

use crate::notation::{Field, Versions};

/// What a field holds.
#[derive(Clone, Debug, PartialEq)]
pub enum Kind {
    /// Number, boolean or uuid: Kafka's word, which names the decoder's and encoder's methods, Rust's type,
    /// and bytes on the wire.
    Plain(&'static str, &'static str, usize),
    String,
    Bytes,
    Records,
    Struct(String),
    /// Array of strings.
    Strings,
    /// Array of anything else.
    Array(Box<Kind>),
}

impl Kind {
    /// Reads Kafka's word.
    pub fn parse(word: &str) -> Result<Kind> {
        if let Some(element) = word.strip_prefix("[]") {
            return Ok(match Kind::parse(element)? {
                Kind::String => Kind::Strings,
                kind @ (Kind::Plain("int8" | "int16" | "int32" | "int64" | "uuid", ..)
                | Kind::Struct(_)) => Kind::Array(Box::new(kind)),
                kind => bail!("no arrays of {kind:?}"),
            });
        }
        Ok(match word {
            "bool" => Kind::Plain("bool", "bool", 1),
            "int8" => Kind::Plain("int8", "i8", 1),
            "int16" => Kind::Plain("int16", "i16", 2),
            "uint16" => Kind::Plain("uint16", "u16", 2),
            "int32" => Kind::Plain("int32", "i32", 4),
            "uint32" => Kind::Plain("uint32", "u32", 4),
            "int64" => Kind::Plain("int64", "i64", 8),
            "float64" => Kind::Plain("float64", "f64", 8),
            "uuid" => Kind::Plain("uuid", "Uuid", 16),
            "string" => Kind::String,
            "bytes" => Kind::Bytes,
            "records" => Kind::Records,
            name if name.starts_with(|first: char| first.is_ascii_uppercase()) => {
                Kind::Struct(name.to_owned())
            }
            other => bail!("unknown type {other:?}"),
        })
    }

    /// The type in Rust.
    pub fn rust(&self) -> String {
        match self {
            Kind::Plain(_, rust, _) => (*rust).to_owned(),
            Kind::String => "String".to_owned(),
            Kind::Bytes => "Bytes".to_owned(),
            Kind::Records => "Records".to_owned(),
            Kind::Struct(name) => name.clone(),
            Kind::Strings => "Vec<String>".to_owned(),
            Kind::Array(element) => format!("Vec<{}>", element.rust()),
        }
    }

    /// The decoder's and encoder's method, without `nullable_`, and its arguments after the value.
    fn method(&self, flexible: &str) -> (&'static str, String) {
        match self {
            Kind::Plain(word, ..) => (word, String::new()),
            Kind::String => ("string", flexible.to_owned()),
            Kind::Bytes => ("bytes", flexible.to_owned()),
            Kind::Records => ("records", flexible.to_owned()),
            Kind::Strings => ("strings", flexible.to_owned()),
            Kind::Array(_) => ("array", format!("{flexible}, version")),
            Kind::Struct(_) => ("part", "version".to_owned()),
        }
    }
}

/// When something applies, among the versions in question.
pub enum When {
    Always,
    Never,
    If(String),
}

/// When a field of these versions is there, in code that runs at `among` only.
pub fn when(versions: Versions, among: Versions) -> When {
    let both = versions.and(among);
    if both.is_empty() {
        When::Never
    } else if both == among {
        When::Always
    } else if both.lowest == both.highest {
        When::If(format!("version == {}", both.lowest))
    } else if both.lowest == among.lowest {
        When::If(format!("version <= {}", both.highest))
    } else if both.highest == among.highest {
        When::If(format!("version >= {}", both.lowest))
    } else {
        When::If(format!(
            "({}..={}).contains(&version)",
            both.lowest, both.highest
        ))
    }
}

/// A field with what follows from its place.
pub struct Place<'a> {
    /// The field.
    pub field: &'a Field,
    /// What it holds.
    pub kind: Kind,
    /// Name in Rust.
    pub name: String,
    /// `Structure.field`, for errors.
    pub path: String,
    /// Whether it is an `Option`.
    pub is_option: bool,
    /// Argument that says whether lengths are compact.
    pub flexible: &'static str,
    /// Versions of the structure that it is in.
    pub part_versions: Versions,
}

impl Place<'_> {
    /// The field's type in Rust.
    pub fn rust(&self) -> String {
        let rust = self.kind.rust();
        if self.is_option {
            format!("Option<{rust}>")
        } else {
            rust
        }
    }

    /// Its facts, for the generated documentation.
    pub fn doc(&self) -> String {
        let field = self.field;
        let mut doc = format!(
            "{}, versions {}",
            field.kind,
            field.versions.and(self.part_versions)
        );
        if self.is_option && !field.nullable.is_empty() {
            doc.push_str(&format!(", null in {}", field.nullable));
        }
        if let Some(tag) = field.tag {
            doc.push_str(&format!(", tag {tag}"));
        }
        if let Some(default) = &field.default {
            doc.push_str(&format!(", default {default}"));
        }
        if field.is_ignorable {
            doc.push_str(", ignorable");
        }
        if field.is_map_key {
            doc.push_str(", key");
        }
        format!("`{doc}`.")
    }

    /// The default as an expression, if it is not Rust's own.
    pub fn default(&self) -> Result<Option<String>> {
        let given = self.field.default.as_deref();
        if self.is_option {
            return Ok(match given {
                Some("null") => None,
                None if self.kind == Kind::Records => None,
                None => Some(format!(
                    "Some({}::default())",
                    self.kind.rust().replace("Vec<", "Vec::<")
                )),
                Some(other) => bail!("{} may be null and has default {other}", self.path),
            });
        }
        let Some(value) = given else { return Ok(None) };
        Ok(match &self.kind {
            Kind::Plain("bool", ..) if value == "false" => None,
            Kind::Plain("bool", ..) if value == "true" => Some("true".to_owned()),
            Kind::Plain("int8" | "int16" | "int32" | "int64", rust, _) => {
                let number: i64 = value
                    .parse()
                    .with_context(|| format!("default of {}", self.path))?;
                match number {
                    0 => None,
                    number if *rust == "i32" && number == i64::from(i32::MAX) => {
                        Some("i32::MAX".to_owned())
                    }
                    number if *rust == "i32" && number == i64::from(i32::MIN) => {
                        Some("i32::MIN".to_owned())
                    }
                    i64::MAX => Some("i64::MAX".to_owned()),
                    number => Some(number.to_string()),
                }
            }
            _ => bail!(
                "{} of type {} has default {value}",
                self.path,
                self.field.kind
            ),
        })
    }

    /// Whether the field has its default, as an expression.
    fn is_default(&self) -> Result<String> {
        let name = &self.name;
        if self.is_option {
            return Ok(match (self.default()?, &self.kind) {
                (None, _) => format!("self.{name}.is_none()"),
                (Some(_), Kind::Struct(_)) => format!("self.{name} == Some(Default::default())"),
                (Some(_), _) => {
                    format!("self.{name}.as_ref().is_some_and(|value| value.is_empty())")
                }
            });
        }
        Ok(match (self.default()?, &self.kind) {
            (None, Kind::Plain("bool", ..)) => format!("!self.{name}"),
            (Some(_), Kind::Plain("bool", ..)) => format!("self.{name}"),
            (None, Kind::Plain("uuid", ..)) => format!("self.{name}.is_zero()"),
            (None, Kind::Plain("float64", ..)) => format!("self.{name} == 0.0"),
            (None, Kind::Plain(..)) => format!("self.{name} == 0"),
            (Some(value), _) => format!("self.{name} == {value}"),
            (None, Kind::Struct(part)) => format!("self.{name} == {part}::default()"),
            (None, _) => format!("self.{name}.is_empty()"),
        })
    }

    fn when_present(&self) -> When {
        when(self.field.versions, self.part_versions)
    }

    fn when_nullable(&self) -> When {
        when(
            self.field.nullable,
            self.field.versions.and(self.part_versions),
        )
    }

    /// An expression that reads the value, null or not.
    pub fn read_value(&self) -> String {
        let (method, arguments) = self.kind.method(self.flexible);
        let plain = match &self.kind {
            Kind::Struct(_) => "Part::read(decoder, version)?".to_owned(),
            _ => format!("decoder.{method}({arguments})?"),
        };
        if !self.is_option {
            return plain;
        }
        let tagged = if self.field.tag.is_some() && method == "part" {
            "tagged_"
        } else {
            ""
        };
        let nullable = format!("decoder.nullable_{tagged}{method}({arguments})?");
        match self.when_nullable() {
            When::Always => nullable,
            When::Never => format!("Some({plain})"),
            When::If(condition) => {
                format!("if {condition} {{ {nullable} }} else {{ Some({plain}) }}")
            }
        }
    }

    /// Lines that read it, where its version has it.
    pub fn read(&self, text: &mut String) -> Result<()> {
        let line = format!("this.{} = {};", self.name, self.read_value());
        match self.when_present() {
            When::Always => writeln!(text, "{line}")?,
            When::Never => bail!("{} is in no version", self.path),
            When::If(condition) => writeln!(text, "if {condition} {{ {line} }}")?,
        }
        Ok(())
    }

    /// An expression that writes the value; gives `()` for plain kinds, else a result.
    fn write_value(&self) -> String {
        let name = &self.name;
        let (method, arguments) = self.kind.method(self.flexible);
        let comma = if arguments.is_empty() { "" } else { ", " };
        let plain = |value: String| match &self.kind {
            Kind::Struct(_) => format!("{value}.write(encoder, version)"),
            _ => format!("encoder.{method}({value}{comma}{arguments})"),
        };
        if !self.is_option {
            let borrow = if matches!(self.kind, Kind::Plain(..) | Kind::Struct(_)) {
                ""
            } else {
                "&"
            };
            return plain(format!("{borrow}self.{name}"));
        }
        let tagged = if self.field.tag.is_some() && method == "part" {
            "tagged_"
        } else {
            ""
        };
        let nullable = format!("encoder.nullable_{tagged}{method}(&self.{name}, {arguments})");
        let never = plain(format!(
            "present(&self.{name}, \"{}\", version)?",
            self.path
        ));
        match self.when_nullable() {
            When::Always => nullable,
            When::Never => never,
            When::If(condition) => format!("if {condition} {{ {nullable} }} else {{ {never} }}"),
        }
    }

    /// Lines that write it, or say that the version cannot carry what it is set to.
    pub fn write(&self, text: &mut String) -> Result<()> {
        let value = self.write_value();
        let value = match self.kind {
            Kind::Plain(..) => format!("{value};"),
            _ if value.starts_with("if ") => value.replace(") }", ")?; }"),
            _ => format!("{value}?;"),
        };
        match self.when_present() {
            When::Always => writeln!(text, "{value}")?,
            When::Never => bail!("{} is in no version", self.path),
            When::If(condition) => {
                writeln!(text, "if {condition} {{ {value} }} {}", self.otherwise()?)?;
            }
        }
        Ok(())
    }

    /// What to do in a version that lacks the field.
    fn otherwise(&self) -> Result<String> {
        if self.field.is_ignorable {
            return Ok(String::new());
        }
        Ok(format!(
            "else {{ absent({}, \"{}\", version)?; }}",
            self.is_default()?,
            self.path
        ))
    }

    /// The same for a tagged field: collected in `tags`, and only if it differs from its default.
    pub fn write_tagged(&self, text: &mut String) -> Result<()> {
        let tag = self.field.tag.context("a tag")?;
        let value = match self.kind {
            Kind::Plain(..) => format!("{{ {}; Ok(()) }}", self.write_value()),
            _ => self.write_value(),
        };
        let is_default = self.is_default()?;
        let put = format!("tags.put({tag}, |encoder| {value})?;");
        let is_set = match is_default.strip_prefix('!') {
            Some(is_set) => is_set.to_owned(),
            None if is_default.contains(" == ") => is_default.replace(" == ", " != "),
            None if is_default.ends_with(".is_none()") => is_default.replace("is_none", "is_some"),
            None => format!("!{is_default}"),
        };
        let otherwise = self.otherwise()?;
        match self.when_present() {
            When::Always => writeln!(text, "if {is_set} {{ {put} }}")?,
            When::Never => bail!("{} is in no version", self.path),
            When::If(condition) if otherwise.is_empty() => {
                writeln!(text, "if {condition} && {is_set} {{ {put} }}")?;
            }
            When::If(condition) => {
                writeln!(
                    text,
                    "if {condition} {{ if {is_set} {{ {put} }} }} {otherwise}"
                )?;
            }
        }
        Ok(())
    }
}
