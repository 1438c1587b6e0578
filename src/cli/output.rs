//! What goes to standard output: lines, tables, JSON.

use std::io::{self, ErrorKind, Write};

use anyhow::Result;
use bytes::Bytes;
use serde_json::{Map, Value};

/// Columns that line up, each as wide as its widest cell.
pub(crate) struct Table {
    rows: Vec<Vec<String>>,
}

impl Table {
    /// A table with these headings.
    pub fn new(headings: &[&str]) -> Table {
        let headings = headings.iter().map(|&text| text.to_owned()).collect();
        Table {
            rows: vec![headings],
        }
    }

    /// Adds a row, with a cell for each heading.
    pub fn row(&mut self, cells: Vec<String>) {
        assert_eq!(cells.len(), self.rows[0].len(), "a cell for each heading");
        self.rows.push(cells);
    }

    /// The lines. A column of numbers is aligned to the right, every other to the left.
    pub fn render(&self) -> String {
        let columns: Vec<(usize, bool)> = (0..self.rows[0].len())
            .map(|column| self.shape(column))
            .collect();
        let mut text = String::new();
        for row in &self.rows {
            let mut line = String::new();
            for (cell, &(width, is_number)) in row.iter().zip(&columns) {
                let padding = " ".repeat(width - cell.chars().count());
                if is_number {
                    line.push_str(&padding);
                    line.push_str(cell);
                } else {
                    line.push_str(cell);
                    line.push_str(&padding);
                }
                line.push_str("  ");
            }
            text.push_str(line.trim_end());
            text.push('\n');
        }
        text
    }

    fn shape(&self, column: usize) -> (usize, bool) {
        let cells = || self.rows.iter().map(|row| &row[column]);
        let width = cells().map(|cell| cell.chars().count()).max();
        let is_number = |cell: &String| cell.parse::<i64>().is_ok();
        let numbers = cells().skip(1).any(is_number)
            && cells().skip(1).all(|cell| cell == "-" || is_number(cell));
        (width.unwrap_or(0), numbers)
    }
}

/// Prints text as it is.
///
/// # Errors
/// Those of standard output.
pub(crate) fn print(text: &str) -> Result<()> {
    let mut out = io::stdout().lock();
    out.write_all(text.as_bytes())?;
    out.flush()?;
    Ok(())
}

/// Prints one line.
///
/// # Errors
/// Those of standard output.
pub(crate) fn line(text: &str) -> Result<()> {
    print(&format!("{text}\n"))
}

/// Prints one JSON value on a line of its own.
///
/// # Errors
/// Those of standard output.
pub(crate) fn json(value: &Value) -> Result<()> {
    line(&value.to_string())
}

/// Whether the error is that nobody reads standard output any more, which ends a program quietly.
pub(crate) fn is_closed_pipe(error: &anyhow::Error) -> bool {
    let io = error.downcast_ref::<io::Error>();
    io.is_some_and(|error| error.kind() == ErrorKind::BrokenPipe)
}

/// A dash for what is absent.
pub(crate) fn or_dash<T: ToString>(value: Option<T>) -> String {
    value.map_or_else(|| "-".to_owned(), |value| value.to_string())
}

/// Numbers separated by commas, a dash for none.
pub(crate) fn join<T: ToString>(values: &[T]) -> String {
    if values.is_empty() {
        return "-".to_owned();
    }
    let texts: Vec<String> = values.iter().map(ToString::to_string).collect();
    texts.join(",")
}

/// Puts bytes into a JSON object: as text under `name` if they are UTF-8, else as hexadecimal digits under `nameHex`.
pub(crate) fn put_bytes(object: &mut Map<String, Value>, name: &str, bytes: Option<&Bytes>) {
    let (name, value) = match bytes.map(|bytes| (bytes, std::str::from_utf8(bytes))) {
        None => (name.to_owned(), Value::Null),
        Some((_, Ok(text))) => (name.to_owned(), Value::from(text)),
        Some((bytes, Err(_))) => (format!("{name}Hex"), Value::from(hex(bytes))),
    };
    object.insert(name, value);
}

/// Hexadecimal digits.
pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_line_up_and_numbers_stand_to_the_right() {
        let mut table = Table::new(&["NAME", "COUNT", "NOTE"]);
        table.row(vec!["a".into(), "5".into(), "x".into()]);
        table.row(vec!["longer".into(), "1234567".into(), String::new()]);
        table.row(vec!["ü".into(), "-".into(), "y".into()]);
        let expected = "\
NAME      COUNT  NOTE
a             5  x
longer  1234567
ü             -  y
";
        assert_eq!(table.render(), expected);
        assert_eq!(Table::new(&["A", "B"]).render(), "A  B\n");
    }

    #[test]
    fn bytes_that_are_no_text_are_shown_in_hexadecimal() {
        let mut object = Map::new();
        put_bytes(&mut object, "key", None);
        put_bytes(
            &mut object,
            "value",
            Some(&Bytes::from_static(b"v\xc3\xbc")),
        );
        put_bytes(&mut object, "other", Some(&Bytes::from_static(b"\xff\x00")));
        let expected = serde_json::json!({ "key": null, "value": "vü", "otherHex": "ff00" });
        assert_eq!(Value::Object(object), expected);
    }

    #[test]
    fn lists_are_joined() {
        assert_eq!(join(&[1, 2, 3]), "1,2,3");
        assert_eq!(join::<i32>(&[]), "-");
        assert_eq!(or_dash(Some(7)), "7");
        assert_eq!(or_dash::<i32>(None), "-");
    }
}
