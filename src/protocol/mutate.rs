//! Damage to bytes, for tests that feed decoders with nearly right messages.

use bytes::Bytes;

/// One piece of damage: where, what kind, and a byte to do it with.
pub(crate) type Edit = (u16, u8, u8);

/// Lengths that decoders are known to stumble over, as fixed and as variable-length numbers.
const HOSTILE: [&[u8]; 10] = [
    &[0x7f, 0xff, 0xff, 0xff],
    &[0xff, 0xff, 0xff, 0xff],
    &[0x80, 0x00, 0x00, 0x00],
    &[0xff, 0xff, 0xff, 0xfe],
    &[0x00, 0x0f, 0x42, 0x40],
    &[0x7f, 0xff],
    &[0xff, 0xff, 0xff, 0xff, 0x0f],
    &[0xff, 0xff, 0xff, 0xff, 0x07],
    &[0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f],
    &[0xc0, 0x84, 0x3d],
];

/// The bytes with the damage done, in order.
pub(crate) fn apply(bytes: &Bytes, edits: &[Edit]) -> Bytes {
    let mut bytes = bytes.to_vec();
    for &(place, kind, value) in edits {
        let at = usize::from(place) % (bytes.len() + 1);
        let rest = bytes.len() - at;
        match kind % 7 {
            0 if rest > 0 => bytes[at] = value,
            1 if rest > 0 => bytes[at] ^= 1 << (value % 8),
            2 => bytes.insert(at, value),
            3 if rest > 0 => drop(bytes.remove(at)),
            4 => bytes.truncate(at),
            5 => {
                let hostile = HOSTILE[usize::from(value) % HOSTILE.len()];
                let end = (at + hostile.len()).min(bytes.len());
                bytes.splice(at..end, hostile.iter().copied());
            }
            _ => {
                let again = bytes[at..at + rest.min(usize::from(value))].to_vec();
                bytes.splice(at..at, again);
            }
        }
    }
    Bytes::from(bytes)
}
