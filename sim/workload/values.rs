//! Values as bytes: a number that is unique in the run, and a filler that follows from it.

use bytes::Bytes;

use crate::history::Value;

const NUMBER_BYTES: usize = 8;
/// Numbers with this bit are written by nobody.
const NOBODY: u64 = 1 << 63;

/// The bytes of a value, with so many bytes of filler.
pub(super) fn encode(value: Value, filler: u32) -> Bytes {
    let mut bytes = Vec::with_capacity(NUMBER_BYTES + filler as usize);
    bytes.extend_from_slice(&value.to_be_bytes());
    bytes.extend((0..filler).map(|index| filler_at(value, index)));
    bytes.into()
}

/// The value that the bytes hold; damaged ones hold a value that nobody wrote.
pub(super) fn decode(bytes: Option<&[u8]>) -> Value {
    let bytes = bytes.unwrap_or_default();
    let Some((number, filler)) = bytes.split_first_chunk::<NUMBER_BYTES>() else {
        return NOBODY | bytes.len() as u64;
    };
    let value = u64::from_be_bytes(*number);
    let mut expected = (0..).map(|index| filler_at(value, index));
    if filler.iter().all(|&byte| Some(byte) == expected.next()) {
        value
    } else {
        NOBODY | value
    }
}

fn filler_at(value: Value, index: u32) -> u8 {
    // Half of it repeats, so that codecs have something to do.
    let mixed = (value ^ u64::from(index / 2)).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    (mixed >> 56) as u8
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_damaged_value_is_nobodys() {
        let value = 3 << 40 | 17;
        for filler in [0, 1, 300] {
            assert_eq!(decode(Some(&encode(value, filler))), value);
        }
        let mut damaged = encode(value, 20).to_vec();
        damaged[15] ^= 1;
        assert_eq!(decode(Some(&damaged)), value | NOBODY);
        assert_eq!(decode(Some(b"abc")), NOBODY | 3);
        assert_eq!(decode(None), NOBODY);
    }
}
