//! Zig-zag variable-length integers, as records hold them.
//!
//! Reading is as lenient as Kafka's: padded encodings are taken, bits above the width are dropped, and a number that
//! has not ended after its longest form is refused.

/// Bytes the longest 32-bit number takes.
pub(super) const VARINT_BYTES_MAX: usize = 5;
/// Bytes the longest 64-bit number takes.
pub(super) const VARLONG_BYTES_MAX: usize = 10;

/// Why a number could not be read.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum VarintError {
    /// The bytes end inside the number.
    Truncated,
    /// The number goes on after its longest form.
    TooLong,
}

/// Reads a 32-bit number at `*position` and moves past it.
#[inline(always)]
pub(super) fn read_varint(bytes: &[u8], position: &mut usize) -> Result<i32, VarintError> {
    let first = *bytes.get(*position).ok_or(VarintError::Truncated)?;
    if first < 0x80 {
        *position += 1;
        return Ok(unzigzag32(u32::from(first)));
    }
    if let Some(&second) = bytes.get(*position + 1)
        && second < 0x80
    {
        *position += 2;
        return Ok(unzigzag32(u32::from(first & 0x7f) | u32::from(second) << 7));
    }
    read_long_varint(bytes, position)
}

#[inline]
fn read_long_varint(bytes: &[u8], position: &mut usize) -> Result<i32, VarintError> {
    let mut value = 0u32;
    for index in 0..VARINT_BYTES_MAX {
        let byte = *bytes.get(*position + index).ok_or(VarintError::Truncated)?;
        value |= u32::from(byte & 0x7f) << (7 * index);
        if byte < 0x80 {
            *position += index + 1;
            return Ok(unzigzag32(value));
        }
    }
    Err(VarintError::TooLong)
}

/// Reads a 64-bit number at `*position` and moves past it.
#[inline(always)]
pub(super) fn read_varlong(bytes: &[u8], position: &mut usize) -> Result<i64, VarintError> {
    if let Some(&[first, second]) = bytes.get(*position..).and_then(|rest| rest.first_chunk()) {
        if first < 0x80 {
            *position += 1;
            return Ok(unzigzag64(u64::from(first)));
        }
        if second < 0x80 {
            *position += 2;
            return Ok(unzigzag64(u64::from(first & 0x7f) | u64::from(second) << 7));
        }
    }
    read_long_varlong(bytes, position)
}

#[inline]
fn read_long_varlong(bytes: &[u8], position: &mut usize) -> Result<i64, VarintError> {
    let mut value = 0u64;
    for index in 0..VARLONG_BYTES_MAX {
        let byte = *bytes.get(*position + index).ok_or(VarintError::Truncated)?;
        value |= u64::from(byte & 0x7f) << (7 * index);
        if byte < 0x80 {
            *position += index + 1;
            return Ok(unzigzag64(value));
        }
    }
    Err(VarintError::TooLong)
}

/// Appends a 32-bit number.
pub(super) fn write_varint(out: &mut Vec<u8>, value: i32) {
    write_unsigned(out, u64::from(zigzag32(value)));
}

/// Appends a 64-bit number.
pub(super) fn write_varlong(out: &mut Vec<u8>, value: i64) {
    write_unsigned(out, zigzag64(value));
}

/// Bytes that [`write_varint`] takes for `value`.
pub(super) fn varint_size(value: i32) -> usize {
    unsigned_size(u64::from(zigzag32(value)))
}

/// Bytes that [`write_varlong`] takes for `value`.
pub(super) fn varlong_size(value: i64) -> usize {
    unsigned_size(zigzag64(value))
}

fn write_unsigned(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

fn unsigned_size(value: u64) -> usize {
    let bits = 64 - (value | 1).leading_zeros() as usize;
    bits.div_ceil(7)
}

fn zigzag32(value: i32) -> u32 {
    ((value << 1) ^ (value >> 31)) as u32
}

fn zigzag64(value: i64) -> u64 {
    ((value << 1) ^ (value >> 63)) as u64
}

#[inline(always)]
fn unzigzag32(value: u32) -> i32 {
    (value >> 1) as i32 ^ -((value & 1) as i32)
}

#[inline(always)]
fn unzigzag64(value: u64) -> i64 {
    (value >> 1) as i64 ^ -((value & 1) as i64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_of_every_length_round_trip() {
        let mut values = vec![
            0i64,
            1,
            -1,
            i64::MAX,
            i64::MIN,
            i64::from(i32::MAX),
            i64::from(i32::MIN),
        ];
        values.extend((0..63).flat_map(|bit| [1i64 << bit, -(1i64 << bit), (1i64 << bit) - 1]));
        for value in values {
            let mut bytes = Vec::new();
            write_varlong(&mut bytes, value);
            assert_eq!(bytes.len(), varlong_size(value));
            let mut position = 0;
            assert_eq!(read_varlong(&bytes, &mut position), Ok(value));
            assert_eq!(position, bytes.len());
            if let Ok(small) = i32::try_from(value) {
                let mut again = Vec::new();
                write_varint(&mut again, small);
                assert_eq!(again, bytes);
                assert_eq!(again.len(), varint_size(small));
                assert_eq!(read_varint(&bytes, &mut 0), Ok(small));
            }
        }
    }

    #[test]
    fn bad_numbers_are_told_apart() {
        let cases: [(&[u8], VarintError); 4] = [
            (&[], VarintError::Truncated),
            (&[0x80], VarintError::Truncated),
            (&[0xff, 0xff, 0xff, 0xff], VarintError::Truncated),
            (&[0xff, 0xff, 0xff, 0xff, 0xff], VarintError::TooLong),
        ];
        for (bytes, error) in cases {
            assert_eq!(read_varint(bytes, &mut 0), Err(error), "{bytes:?}");
        }
        assert_eq!(read_varlong(&[0xff; 10], &mut 0), Err(VarintError::TooLong));
        assert_eq!(
            read_varlong(&[0xff; 9], &mut 0),
            Err(VarintError::Truncated)
        );
    }

    #[test]
    fn padded_numbers_are_taken() {
        assert_eq!(read_varint(&[0x82, 0x00], &mut 0), Ok(1));
        assert_eq!(read_varlong(&[0x81, 0x80, 0x00], &mut 0), Ok(-1));
    }
}
