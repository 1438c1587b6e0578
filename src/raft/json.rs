//! One flat JSON object with numbers and strings: as much JSON as `quorum-state` needs, and no more.

use std::collections::BTreeMap;

/// A value of the object.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Value {
    Number(i64),
    Text(String),
    /// An array or null: its presence is all that matters.
    Other,
}

/// Reads the object; `Err` is the byte at which it stops being one.
pub(crate) fn parse_object(text: &str) -> Result<BTreeMap<String, Value>, usize> {
    let mut parser = Parser {
        bytes: text.as_bytes(),
        at: 0,
    };
    let object = parser.object(0)?;
    parser.blanks();
    if parser.at < parser.bytes.len() {
        return Err(parser.at);
    }
    Ok(object)
}

/// Arrays and objects deeper than this are refused.
const DEPTH_MAX: usize = 8;

struct Parser<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl Parser<'_> {
    fn object(&mut self, depth: usize) -> Result<BTreeMap<String, Value>, usize> {
        let mut object = BTreeMap::new();
        self.expect(b'{')?;
        if self.take(b'}') {
            return Ok(object);
        }
        loop {
            let start = self.at;
            let name = self.string()?;
            self.expect(b':')?;
            let value = self.value(depth)?;
            if object.insert(name, value).is_some() {
                return Err(start);
            }
            if self.take(b'}') {
                return Ok(object);
            }
            self.expect(b',')?;
        }
    }

    fn value(&mut self, depth: usize) -> Result<Value, usize> {
        self.blanks();
        match self.bytes.get(self.at) {
            Some(b'"') => self.string().map(Value::Text),
            Some(b'-' | b'0'..=b'9') => self.number().map(Value::Number),
            Some(b'[') if depth < DEPTH_MAX => self.array(depth),
            Some(b'{') if depth < DEPTH_MAX => self.object(depth + 1).map(|_| Value::Other),
            Some(b'n') if self.bytes[self.at..].starts_with(b"null") => {
                self.at += 4;
                Ok(Value::Other)
            }
            _ => Err(self.at),
        }
    }

    fn array(&mut self, depth: usize) -> Result<Value, usize> {
        self.expect(b'[')?;
        if self.take(b']') {
            return Ok(Value::Other);
        }
        loop {
            self.value(depth + 1)?;
            if self.take(b']') {
                return Ok(Value::Other);
            }
            self.expect(b',')?;
        }
    }

    // Names and ids hold no escapes: one that does is not ours.
    fn string(&mut self) -> Result<String, usize> {
        self.expect(b'"')?;
        let start = self.at;
        while let Some(&byte) = self.bytes.get(self.at) {
            match byte {
                b'"' => {
                    let text = String::from_utf8_lossy(&self.bytes[start..self.at]).into_owned();
                    self.at += 1;
                    return Ok(text);
                }
                b'\\' | 0..=0x1f => return Err(self.at),
                _ => self.at += 1,
            }
        }
        Err(self.at)
    }

    fn number(&mut self) -> Result<i64, usize> {
        let start = self.at;
        self.at += usize::from(self.bytes[start] == b'-');
        while self.bytes.get(self.at).is_some_and(u8::is_ascii_digit) {
            self.at += 1;
        }
        let text = std::str::from_utf8(&self.bytes[start..self.at]).map_err(|_| start)?;
        text.parse().map_err(|_| start)
    }

    fn blanks(&mut self) {
        while self.bytes.get(self.at).is_some_and(u8::is_ascii_whitespace) {
            self.at += 1;
        }
    }

    fn take(&mut self, byte: u8) -> bool {
        self.blanks();
        let found = self.bytes.get(self.at) == Some(&byte);
        self.at += usize::from(found);
        found
    }

    fn expect(&mut self, byte: u8) -> Result<(), usize> {
        if self.take(byte) {
            Ok(())
        } else {
            Err(self.at)
        }
    }
}
