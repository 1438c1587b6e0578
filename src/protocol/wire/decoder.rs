//! Reading: every length is checked against what remains before it is believed.

use bytes::Bytes;
use types::Uuid;

use super::{
    ARRAY_ELEMENTS_MAX, DecodeError, Part, Records, STRING_BYTES_MAX, TAGGED_FIELDS_MAX,
    UnknownTaggedFields,
};

/// Memory that decoding may take for each byte of the message, beyond [`BUDGET_BYTES_BASE`].
///
/// Honest structures take about ten, the leanest conceivable (empty names, empty lists) nearly forty.
const BUDGET_BYTES_PER_BYTE: usize = 48;
/// Memory that decoding any message may take.
const BUDGET_BYTES_BASE: usize = 64 << 10;

/// A place in a message's bytes.
///
/// Byte and record fields are views into the same allocation, never copies.
#[derive(Clone, Debug)]
pub struct Decoder {
    bytes: Bytes,
    position: usize,
    /// Reading stops here: the end of the bytes or of the tagged field that is being read.
    end: usize,
    /// Bytes of memory that arrays and strings have taken.
    spent_bytes: usize,
    /// Bytes of memory that they may take in all.
    budget_bytes: usize,
}

impl Decoder {
    /// Starts at the first byte.
    pub fn new(bytes: Bytes) -> Decoder {
        let end = bytes.len();
        let budget_bytes = end.saturating_mul(BUDGET_BYTES_PER_BYTE) + BUDGET_BYTES_BASE;
        Decoder {
            bytes,
            position: 0,
            end,
            spent_bytes: 0,
            budget_bytes,
        }
    }

    /// Lowers the memory, in bytes, that decoding may take; [`DecodeError::Budget`] beyond it.
    ///
    /// Without it, decoding may take up to 48 times the message's length and 64 KiB, and an honest message never more.
    pub fn limit_memory(&mut self, bytes: usize) {
        self.budget_bytes = self.budget_bytes.min(bytes);
    }

    /// Memory, in bytes, that decoding has taken for arrays and strings; byte and record fields are views.
    pub fn memory_bytes(&self) -> usize {
        self.spent_bytes
    }

    /// Bytes not yet read.
    #[inline]
    pub fn remaining(&self) -> usize {
        self.end - self.position
    }

    /// Bytes read so far.
    pub fn position(&self) -> usize {
        self.position
    }

    /// Everything not yet read, as a view; the decoder is then at its end.
    pub fn rest(&mut self) -> Bytes {
        let rest = self.bytes.slice(self.position..self.end);
        self.position = self.end;
        rest
    }

    /// Fails with [`DecodeError::LeftOver`] unless everything was read.
    pub fn finish(&self) -> Result<(), DecodeError> {
        match self.remaining() {
            0 => Ok(()),
            left => Err(DecodeError::LeftOver(left)),
        }
    }

    #[inline]
    fn take(&mut self, length: usize) -> Result<&[u8], DecodeError> {
        if length > self.remaining() {
            return Err(self.truncated(length));
        }
        let start = self.position;
        self.position += length;
        Ok(&self.bytes[start..start + length])
    }

    #[cold]
    fn truncated(&self, needed: usize) -> DecodeError {
        DecodeError::Truncated {
            needed,
            remaining: self.remaining(),
        }
    }

    #[inline]
    fn fixed<const N: usize>(&mut self) -> Result<[u8; N], DecodeError> {
        let bytes = self.take(N)?;
        Ok(bytes.try_into().expect("take gives the length asked for"))
    }

    /// The next `length` bytes as a view.
    pub fn raw(&mut self, length: usize) -> Result<Bytes, DecodeError> {
        if length > self.remaining() {
            return Err(self.truncated(length));
        }
        let start = self.position;
        self.position += length;
        Ok(self.bytes.slice(start..start + length))
    }

    fn spend(&mut self, bytes: usize) -> Result<(), DecodeError> {
        if bytes > self.budget_bytes.saturating_sub(self.spent_bytes) {
            return Err(DecodeError::Budget);
        }
        self.spent_bytes += bytes;
        Ok(())
    }

    /// One byte: 0 is false, anything else true, as Kafka reads it.
    pub fn bool(&mut self) -> Result<bool, DecodeError> {
        Ok(self.int8()? != 0)
    }

    /// Signed byte.
    pub fn int8(&mut self) -> Result<i8, DecodeError> {
        Ok(i8::from_be_bytes(self.fixed()?))
    }

    /// Big-endian signed 16 bits.
    pub fn int16(&mut self) -> Result<i16, DecodeError> {
        Ok(i16::from_be_bytes(self.fixed()?))
    }

    /// Big-endian unsigned 16 bits.
    pub fn uint16(&mut self) -> Result<u16, DecodeError> {
        Ok(u16::from_be_bytes(self.fixed()?))
    }

    /// Big-endian signed 32 bits.
    pub fn int32(&mut self) -> Result<i32, DecodeError> {
        Ok(i32::from_be_bytes(self.fixed()?))
    }

    /// Big-endian unsigned 32 bits.
    pub fn uint32(&mut self) -> Result<u32, DecodeError> {
        Ok(u32::from_be_bytes(self.fixed()?))
    }

    /// Big-endian signed 64 bits.
    pub fn int64(&mut self) -> Result<i64, DecodeError> {
        Ok(i64::from_be_bytes(self.fixed()?))
    }

    /// IEEE 754 double, big-endian.
    pub fn float64(&mut self) -> Result<f64, DecodeError> {
        Ok(f64::from_be_bytes(self.fixed()?))
    }

    /// 16 bytes.
    pub fn uuid(&mut self) -> Result<Uuid, DecodeError> {
        Ok(Uuid(self.fixed()?))
    }

    /// Unsigned number of 1 to 5 bytes, 7 bits each, least first.
    pub fn unsigned_varint(&mut self) -> Result<u32, DecodeError> {
        let value = self.unsigned_varlong_of(5)?;
        u32::try_from(value).map_err(|_| DecodeError::Varint)
    }

    /// Signed number of 1 to 5 bytes, zigzag.
    pub fn varint(&mut self) -> Result<i32, DecodeError> {
        let value = self.unsigned_varint()?;
        Ok((value >> 1) as i32 ^ -((value & 1) as i32))
    }

    /// Signed number of 1 to 10 bytes, zigzag.
    pub fn varlong(&mut self) -> Result<i64, DecodeError> {
        let value = self.unsigned_varlong_of(10)?;
        Ok((value >> 1) as i64 ^ -((value & 1) as i64))
    }

    #[inline]
    fn unsigned_varlong_of(&mut self, bytes_max: u32) -> Result<u64, DecodeError> {
        let mut value = 0u64;
        for index in 0..bytes_max {
            let [byte] = self.fixed()?;
            // The tenth byte has room for one bit only.
            if index == 9 && byte > 1 {
                return Err(DecodeError::Varint);
            }
            value |= u64::from(byte & 0x7f) << (7 * index);
            if byte & 0x80 == 0 {
                return Ok(value);
            }
        }
        Err(DecodeError::Varint)
    }

    /// A compact length (one more than the length, 0 for null).
    fn compact_length(&mut self) -> Result<Option<usize>, DecodeError> {
        Ok((self.unsigned_varint()? as usize).checked_sub(1))
    }

    /// A length of 32 bits, -1 for null.
    fn long_length(&mut self) -> Result<Option<usize>, DecodeError> {
        match self.int32()? {
            -1 => Ok(None),
            length => usize::try_from(length)
                .map(Some)
                .map_err(|_| DecodeError::Length(i64::from(length))),
        }
    }

    /// A string that may be null.
    pub fn nullable_string(&mut self, flexible: bool) -> Result<Option<String>, DecodeError> {
        let length = if flexible {
            self.compact_length()?
        } else {
            match self.int16()? {
                -1 => None,
                length => Some(
                    usize::try_from(length).map_err(|_| DecodeError::Length(i64::from(length)))?,
                ),
            }
        };
        let Some(length) = length else {
            return Ok(None);
        };
        if length > STRING_BYTES_MAX {
            return Err(DecodeError::Length(length as i64));
        }
        self.spend(length)?;
        let bytes = self.take(length)?;
        let text = std::str::from_utf8(bytes).map_err(|_| DecodeError::Utf8)?;
        Ok(Some(text.to_owned()))
    }

    /// A string.
    pub fn string(&mut self, flexible: bool) -> Result<String, DecodeError> {
        self.nullable_string(flexible)?.ok_or(DecodeError::Null)
    }

    /// Bytes that may be null, as a view.
    pub fn nullable_bytes(&mut self, flexible: bool) -> Result<Option<Bytes>, DecodeError> {
        let length = if flexible {
            self.compact_length()?
        } else {
            self.long_length()?
        };
        length.map(|length| self.raw(length)).transpose()
    }

    /// Bytes, as a view.
    pub fn bytes(&mut self, flexible: bool) -> Result<Bytes, DecodeError> {
        self.nullable_bytes(flexible)?.ok_or(DecodeError::Null)
    }

    /// Record batches that may be null, as a view.
    pub fn nullable_records(&mut self, flexible: bool) -> Result<Option<Records>, DecodeError> {
        Ok(self.nullable_bytes(flexible)?.map(Records::Bytes))
    }

    /// Record batches, as a view.
    pub fn records(&mut self, flexible: bool) -> Result<Records, DecodeError> {
        self.bytes(flexible).map(Records::Bytes)
    }

    /// An array's length, bounded by the bytes that remain, the cap and the memory budget.
    fn array_length(
        &mut self,
        flexible: bool,
        wire_bytes_min: usize,
        memory_bytes: usize,
    ) -> Result<Option<usize>, DecodeError> {
        let length = if flexible {
            self.compact_length()?
        } else {
            self.long_length()?
        };
        let Some(count) = length else { return Ok(None) };
        if count > ARRAY_ELEMENTS_MAX {
            return Err(DecodeError::TooMany {
                count,
                max: ARRAY_ELEMENTS_MAX,
            });
        }
        let needed = count * wire_bytes_min.max(1);
        if needed > self.remaining() {
            return Err(self.truncated(needed));
        }
        self.spend(count * memory_bytes)?;
        Ok(Some(count))
    }

    /// An array of numbers or structures that may be null.
    pub fn nullable_array<T: Part>(
        &mut self,
        flexible: bool,
        version: i16,
    ) -> Result<Option<Vec<T>>, DecodeError> {
        // So no honest message is ever refused for its budget, which counts the elements' memory.
        const { assert!(size_of::<T>() <= T::SIZE_BYTES_MIN * BUDGET_BYTES_PER_BYTE) };
        let length = self.array_length(flexible, T::SIZE_BYTES_MIN, size_of::<T>())?;
        let Some(count) = length else { return Ok(None) };
        let mut elements = Vec::with_capacity(count);
        for _ in 0..count {
            elements.push(T::read(self, version)?);
        }
        Ok(Some(elements))
    }

    /// An array of numbers or structures.
    pub fn array<T: Part>(&mut self, flexible: bool, version: i16) -> Result<Vec<T>, DecodeError> {
        self.nullable_array(flexible, version)?
            .ok_or(DecodeError::Null)
    }

    /// An array of strings that may be null.
    pub fn nullable_strings(&mut self, flexible: bool) -> Result<Option<Vec<String>>, DecodeError> {
        let bytes_min = if flexible { 1 } else { 2 };
        let length = self.array_length(flexible, bytes_min, size_of::<String>())?;
        let Some(count) = length else { return Ok(None) };
        let mut elements = Vec::with_capacity(count);
        for _ in 0..count {
            elements.push(self.string(flexible)?);
        }
        Ok(Some(elements))
    }

    /// An array of strings.
    pub fn strings(&mut self, flexible: bool) -> Result<Vec<String>, DecodeError> {
        self.nullable_strings(flexible)?.ok_or(DecodeError::Null)
    }

    /// A structure that may be null: one byte, negative for null (KIP-893).
    pub fn nullable_part<T: Part>(&mut self, version: i16) -> Result<Option<T>, DecodeError> {
        if self.int8()? < 0 {
            Ok(None)
        } else {
            T::read(self, version).map(Some)
        }
    }

    /// A tagged structure that may be null: 0 for null, 1 before a value.
    pub fn nullable_tagged_part<T: Part>(
        &mut self,
        version: i16,
    ) -> Result<Option<T>, DecodeError> {
        if self.unsigned_varint()? == 0 {
            Ok(None)
        } else {
            T::read(self, version).map(Some)
        }
    }

    /// Starts the tagged fields at a structure's end: `while let Some(tag) = tags.next(decoder)?`,
    /// reading one field or keeping it as unknown each time.
    pub fn tags(&mut self) -> Result<Tags, DecodeError> {
        let count = self.unsigned_varint()? as usize;
        if count > TAGGED_FIELDS_MAX {
            return Err(DecodeError::TooMany {
                count,
                max: TAGGED_FIELDS_MAX,
            });
        }
        // Each takes a byte of tag and a byte of size at least.
        if count * 2 > self.remaining() {
            return Err(self.truncated(count * 2));
        }
        Ok(Tags {
            left: count,
            open: None,
        })
    }

    /// Tagged fields of a structure whose schema has none: all are kept as unknown.
    pub fn unknown_tags(&mut self) -> Result<UnknownTaggedFields, DecodeError> {
        let mut unknown = Vec::new();
        let mut tags = self.tags()?;
        while let Some(tag) = tags.next(self)? {
            self.keep_unknown(tag, &mut unknown)?;
        }
        Ok(unknown)
    }

    /// Keeps the tagged field at hand as unknown.
    pub fn keep_unknown(
        &mut self,
        tag: u32,
        unknown: &mut UnknownTaggedFields,
    ) -> Result<(), DecodeError> {
        self.spend(size_of::<(u32, Bytes)>())?;
        unknown.push((tag, self.rest()));
        Ok(())
    }
}

/// Walks the tagged fields of one structure. While a field is open the decoder ends where it ends.
#[derive(Debug)]
pub struct Tags {
    left: usize,
    /// The field being read and where the enclosing content ends.
    open: Option<(u32, usize)>,
}

impl Tags {
    /// Closes the field before, which must have been read to its end, and opens the next one.
    pub fn next(&mut self, decoder: &mut Decoder) -> Result<Option<u32>, DecodeError> {
        let mut previous = None;
        if let Some((tag, outer_end)) = self.open.take() {
            if decoder.remaining() != 0 {
                return Err(DecodeError::TagSize { tag });
            }
            decoder.end = outer_end;
            previous = Some(tag);
        }
        if self.left == 0 {
            return Ok(None);
        }
        self.left -= 1;
        let tag = decoder.unsigned_varint()?;
        if previous.is_some_and(|previous| previous >= tag) {
            return Err(DecodeError::TagOrder { tag });
        }
        let size = decoder.unsigned_varint()? as usize;
        if size > decoder.remaining() {
            return Err(decoder.truncated(size));
        }
        self.open = Some((tag, decoder.end));
        decoder.end = decoder.position + size;
        Ok(Some(tag))
    }
}
