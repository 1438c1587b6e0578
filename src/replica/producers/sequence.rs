//! Arithmetic of sequence numbers: they count records from 0 to 2^31 - 1 and wrap to 0.

/// The sequence `records` after `sequence`.
pub fn add_to_sequence(sequence: i32, records: i32) -> i32 {
    assert!(
        sequence >= 0 && records >= 0,
        "sequence {sequence} + {records}"
    );
    protocol::records::increment_sequence(sequence, records)
}

/// The sequence `records` before `sequence`.
pub fn subtract_from_sequence(sequence: i32, records: i32) -> i32 {
    assert!(
        sequence >= 0 && records >= 0,
        "sequence {sequence} - {records}"
    );
    ((sequence as u32).wrapping_sub(records as u32) & 0x7fff_ffff) as i32
}

/// Whether `next` comes right after `last`; -1 for `last` means that nothing came yet.
pub fn follows(last: i32, next: i32) -> bool {
    match last {
        -1 => next == 0,
        i32::MAX if next == 0 && types::planted!(SequenceWrap) => false,
        last => next == add_to_sequence(last, 1),
    }
}
