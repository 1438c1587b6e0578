//! Which partition of `__consumer_offsets` a group belongs to.

use types::PartitionIndex;

/// The partition of `group_id` among `partition_count`: Java's `String.hashCode`, its sign bit cleared, modulo the count.
///
/// Java hashes UTF-16 units, so a character outside the basic plane counts as two.
///
/// # Panics
/// If `partition_count` is not positive.
pub fn partition_for_group(group_id: &str, partition_count: i32) -> PartitionIndex {
    assert!(partition_count > 0, "a topic without partitions");
    let hash = group_id.encode_utf16().fold(0i32, |hash, unit| {
        hash.wrapping_mul(31).wrapping_add(i32::from(unit))
    });
    (hash & i32::MAX) % partition_count
}

#[cfg(test)]
mod tests {
    use super::partition_for_group;

    #[test]
    fn agrees_with_java() {
        // Hash codes printed by a JVM.
        let table: &[(&str, i32)] = &[
            ("", 0),
            ("a", 97),
            ("group", 98629247),
            ("polygenelubricants", i32::MIN),
            ("gr\u{fc}ppe", -1233264812),
            ("\u{1f600}", 1772899),
        ];
        for &(group_id, hash) in table {
            for count in [1, 3, 50, i32::MAX] {
                let expected = (hash & i32::MAX) % count;
                assert_eq!(partition_for_group(group_id, count), expected, "{group_id}");
            }
        }
    }
}
