//! Writing: small things into one buffer, record bytes and file ranges as chunks of their own.

use bytes::Bytes;
use types::Uuid;

use super::{EncodeError, External, Message, Part, Records, STRING_BYTES_MAX};

/// Byte and record fields of at least this many bytes are not copied but become chunks of their own.
const OWN_CHUNK_BYTES_MIN: usize = 512;

/// A piece of an encoded message, to be written to the socket in order.
#[derive(Clone, Debug, PartialEq)]
pub enum Chunk {
    /// These bytes.
    Bytes(Bytes),
    /// What the placeholder stands for.
    External(External),
}

impl Chunk {
    /// Length in bytes.
    pub fn length_bytes(&self) -> usize {
        match self {
            Chunk::Bytes(bytes) => bytes.len(),
            Chunk::External(external) => external.length_bytes as usize,
        }
    }
}

/// A message being written.
#[derive(Debug, Default)]
pub struct Encoder {
    /// Everything that was copied, in order.
    buffer: Vec<u8>,
    /// What was not copied, each with the buffer's length at which it comes.
    inserts: Vec<(usize, Chunk)>,
    /// Bytes of the inserts.
    inserted_bytes: usize,
}

impl Encoder {
    /// An empty message.
    pub fn new() -> Encoder {
        Encoder::default()
    }

    /// An empty message with room for `bytes` before it must grow.
    pub fn with_capacity(bytes: usize) -> Encoder {
        Encoder {
            buffer: Vec::with_capacity(bytes),
            ..Encoder::default()
        }
    }

    /// Bytes so far, chunks of their own included.
    pub fn length_bytes(&self) -> usize {
        self.buffer.len() + self.inserted_bytes
    }

    /// The message in order. Copied bytes are views of one allocation.
    pub fn finish(self) -> Vec<Chunk> {
        let buffer = Bytes::from(self.buffer);
        let mut chunks = Vec::with_capacity(self.inserts.len() * 2 + 1);
        let mut start = 0;
        for (at, chunk) in self.inserts {
            if at > start {
                chunks.push(Chunk::Bytes(buffer.slice(start..at)));
                start = at;
            }
            chunks.push(chunk);
        }
        if start < buffer.len() {
            chunks.push(Chunk::Bytes(buffer.slice(start..)));
        }
        chunks
    }

    /// The message in order, after the 32-bit length that begins every frame.
    ///
    /// The first four bytes must have been reserved by [`Encoder::reserve_frame_length`].
    ///
    /// # Errors
    /// [`EncodeError::TooLong`] beyond 2 GiB.
    pub fn finish_frame(mut self) -> Result<Vec<Chunk>, EncodeError> {
        assert!(
            self.buffer.len() >= 4,
            "the frame's length was not reserved"
        );
        let length = self.length_bytes() - 4;
        let prefix = i32::try_from(length).map_err(|_| EncodeError::TooLong(length))?;
        self.buffer[..4].copy_from_slice(&prefix.to_be_bytes());
        Ok(self.finish())
    }

    /// Makes room for a frame's length; must come first.
    pub fn reserve_frame_length(&mut self) {
        assert!(self.length_bytes() == 0, "a frame's length comes first");
        self.int32(0);
    }

    /// The message in one piece.
    ///
    /// # Panics
    /// If it has a placeholder: only chunks can carry one.
    pub fn into_bytes(self) -> Bytes {
        if self.inserts.is_empty() {
            return Bytes::from(self.buffer);
        }
        let mut whole = Vec::with_capacity(self.length_bytes());
        for chunk in self.finish() {
            match chunk {
                Chunk::Bytes(bytes) => whole.extend_from_slice(&bytes),
                Chunk::External(external) => {
                    panic!("placeholder {} has no bytes of its own", external.slot)
                }
            }
        }
        Bytes::from(whole)
    }

    /// One byte, 0 or 1.
    pub fn bool(&mut self, value: bool) {
        self.buffer.push(u8::from(value));
    }

    /// Signed byte.
    pub fn int8(&mut self, value: i8) {
        self.buffer.push(value as u8);
    }

    /// Big-endian signed 16 bits.
    pub fn int16(&mut self, value: i16) {
        self.buffer.extend_from_slice(&value.to_be_bytes());
    }

    /// Big-endian unsigned 16 bits.
    pub fn uint16(&mut self, value: u16) {
        self.buffer.extend_from_slice(&value.to_be_bytes());
    }

    /// Big-endian signed 32 bits.
    pub fn int32(&mut self, value: i32) {
        self.buffer.extend_from_slice(&value.to_be_bytes());
    }

    /// Big-endian unsigned 32 bits.
    pub fn uint32(&mut self, value: u32) {
        self.buffer.extend_from_slice(&value.to_be_bytes());
    }

    /// Big-endian signed 64 bits.
    pub fn int64(&mut self, value: i64) {
        self.buffer.extend_from_slice(&value.to_be_bytes());
    }

    /// IEEE 754 double, big-endian.
    pub fn float64(&mut self, value: f64) {
        self.buffer.extend_from_slice(&value.to_be_bytes());
    }

    /// 16 bytes.
    pub fn uuid(&mut self, value: Uuid) {
        self.buffer.extend_from_slice(&value.0);
    }

    /// Unsigned number of 1 to 5 bytes, 7 bits each, least first.
    pub fn unsigned_varint(&mut self, value: u32) {
        self.unsigned_varlong(u64::from(value));
    }

    /// Signed number of 1 to 5 bytes, zigzag.
    pub fn varint(&mut self, value: i32) {
        self.unsigned_varint(((value << 1) ^ (value >> 31)) as u32);
    }

    /// Signed number of 1 to 10 bytes, zigzag.
    pub fn varlong(&mut self, value: i64) {
        self.unsigned_varlong(((value << 1) ^ (value >> 63)) as u64);
    }

    fn unsigned_varlong(&mut self, mut value: u64) {
        while value >= 0x80 {
            self.buffer.push(value as u8 | 0x80);
            value >>= 7;
        }
        self.buffer.push(value as u8);
    }

    /// These bytes, copied.
    pub fn raw(&mut self, bytes: &[u8]) {
        self.buffer.extend_from_slice(bytes);
    }

    /// The length of bytes, records or an array: 32 bits, or compact; `None` is null.
    fn length(&mut self, length: Option<usize>, flexible: bool) -> Result<(), EncodeError> {
        let Some(length) = length else {
            if flexible {
                self.unsigned_varint(0)
            } else {
                self.int32(-1)
            }
            return Ok(());
        };
        let signed = i32::try_from(length).map_err(|_| EncodeError::TooLong(length))?;
        if flexible {
            self.unsigned_varint(signed as u32 + 1)
        } else {
            self.int32(signed)
        }
        Ok(())
    }

    /// A string.
    pub fn string(&mut self, value: &str, flexible: bool) -> Result<(), EncodeError> {
        if value.len() > STRING_BYTES_MAX {
            return Err(EncodeError::TooLong(value.len()));
        }
        if flexible {
            self.unsigned_varint(value.len() as u32 + 1);
        } else {
            self.int16(value.len() as i16);
        }
        self.buffer.extend_from_slice(value.as_bytes());
        Ok(())
    }

    /// A string that may be null.
    pub fn nullable_string(
        &mut self,
        value: &Option<String>,
        flexible: bool,
    ) -> Result<(), EncodeError> {
        match value {
            Some(value) => self.string(value, flexible)?,
            None if flexible => self.unsigned_varint(0),
            None => self.int16(-1),
        }
        Ok(())
    }

    fn insert(&mut self, chunk: Chunk) {
        self.inserted_bytes += chunk.length_bytes();
        self.inserts.push((self.buffer.len(), chunk));
    }

    /// Bytes; copied only if few.
    pub fn bytes(&mut self, value: &Bytes, flexible: bool) -> Result<(), EncodeError> {
        self.length(Some(value.len()), flexible)?;
        if value.len() < OWN_CHUNK_BYTES_MIN {
            self.buffer.extend_from_slice(value);
        } else {
            self.insert(Chunk::Bytes(value.clone()));
        }
        Ok(())
    }

    /// Bytes that may be null; copied only if few.
    pub fn nullable_bytes(
        &mut self,
        value: &Option<Bytes>,
        flexible: bool,
    ) -> Result<(), EncodeError> {
        match value {
            Some(value) => self.bytes(value, flexible),
            None => self.length(None, flexible),
        }
    }

    /// Record batches; copied only if few bytes, placeholders counted in the length.
    pub fn records(&mut self, value: &Records, flexible: bool) -> Result<(), EncodeError> {
        match value {
            Records::Bytes(bytes) => self.bytes(bytes, flexible),
            Records::External(external) => {
                self.length(Some(external.length_bytes as usize), flexible)?;
                if external.length_bytes > 0 {
                    self.insert(Chunk::External(*external));
                }
                Ok(())
            }
        }
    }

    /// Record batches that may be null.
    pub fn nullable_records(
        &mut self,
        value: &Option<Records>,
        flexible: bool,
    ) -> Result<(), EncodeError> {
        match value {
            Some(value) => self.records(value, flexible),
            None => self.length(None, flexible),
        }
    }

    /// An array of numbers or structures.
    pub fn array<T: Part>(
        &mut self,
        elements: &[T],
        flexible: bool,
        version: i16,
    ) -> Result<(), EncodeError> {
        self.length(Some(elements.len()), flexible)?;
        elements
            .iter()
            .try_for_each(|element| element.write(self, version))
    }

    /// An array of numbers or structures that may be null.
    pub fn nullable_array<T: Part>(
        &mut self,
        elements: &Option<Vec<T>>,
        flexible: bool,
        version: i16,
    ) -> Result<(), EncodeError> {
        match elements {
            Some(elements) => self.array(elements, flexible, version),
            None => self.length(None, flexible),
        }
    }

    /// An array of strings.
    pub fn strings(&mut self, elements: &[String], flexible: bool) -> Result<(), EncodeError> {
        self.length(Some(elements.len()), flexible)?;
        elements
            .iter()
            .try_for_each(|element| self.string(element, flexible))
    }

    /// An array of strings that may be null.
    pub fn nullable_strings(
        &mut self,
        elements: &Option<Vec<String>>,
        flexible: bool,
    ) -> Result<(), EncodeError> {
        match elements {
            Some(elements) => self.strings(elements, flexible),
            None => self.length(None, flexible),
        }
    }

    /// A structure that may be null: one byte, negative for null (KIP-893).
    pub fn nullable_part<T: Part>(
        &mut self,
        value: &Option<T>,
        version: i16,
    ) -> Result<(), EncodeError> {
        match value {
            None => {
                self.int8(-1);
                Ok(())
            }
            Some(value) => {
                self.int8(1);
                value.write(self, version)
            }
        }
    }

    /// A tagged structure that may be null: 0 for null, 1 before a value.
    pub fn nullable_tagged_part<T: Part>(
        &mut self,
        value: &Option<T>,
        version: i16,
    ) -> Result<(), EncodeError> {
        self.unsigned_varint(u32::from(value.is_some()));
        value
            .as_ref()
            .map_or(Ok(()), |value| value.write(self, version))
    }

    /// Ends a structure that has no tagged fields set but these.
    pub fn unknown_tags(&mut self, unknown: &[(u32, Bytes)]) -> Result<(), EncodeError> {
        if unknown.is_empty() {
            self.buffer.push(0);
            return Ok(());
        }
        TagWriter::default().finish(unknown, self)
    }

    fn append(&mut self, other: Encoder) {
        let base = self.buffer.len();
        self.buffer.extend_from_slice(&other.buffer);
        self.inserted_bytes += other.inserted_bytes;
        self.inserts.extend(
            other
                .inserts
                .into_iter()
                .map(|(at, chunk)| (base + at, chunk)),
        );
    }
}

/// Collects the tagged fields of one structure that differ from their defaults.
#[derive(Debug, Default)]
pub struct TagWriter {
    fields: Vec<(u32, Encoder)>,
}

impl TagWriter {
    /// Adds one field, whose content `write` writes.
    pub fn put(
        &mut self,
        tag: u32,
        write: impl FnOnce(&mut Encoder) -> Result<(), EncodeError>,
    ) -> Result<(), EncodeError> {
        let mut encoder = Encoder::new();
        write(&mut encoder)?;
        self.fields.push((tag, encoder));
        Ok(())
    }

    /// Writes them with the unknown ones by ascending tag, and so ends the structure.
    pub fn finish(
        mut self,
        unknown: &[(u32, Bytes)],
        encoder: &mut Encoder,
    ) -> Result<(), EncodeError> {
        for (tag, bytes) in unknown {
            self.put(*tag, |encoder| {
                encoder.raw(bytes);
                Ok(())
            })?;
        }
        self.fields.sort_by_key(|field| field.0);
        if let Some(pair) = self.fields.windows(2).find(|pair| pair[0].0 == pair[1].0) {
            return Err(EncodeError::DuplicateTag(pair[0].0));
        }
        encoder.unsigned_varint(self.fields.len() as u32);
        for (tag, content) in self.fields {
            encoder.unsigned_varint(tag);
            let length = content.length_bytes();
            encoder
                .unsigned_varint(u32::try_from(length).map_err(|_| EncodeError::TooLong(length))?);
            encoder.append(content);
        }
        Ok(())
    }
}

/// One message at one version, in one piece, without header or frame.
///
/// # Errors
/// As [`Message::encode`]; placeholders are for [`Encoder::finish`] only.
pub fn encode_to_bytes<M: Message>(message: &M, version: i16) -> Result<Bytes, EncodeError> {
    let mut encoder = Encoder::new();
    message.encode(&mut encoder, version)?;
    Ok(encoder.into_bytes())
}
