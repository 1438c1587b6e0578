//! Which partition a record goes to.

use types::PartitionIndex;

/// The partition of a key, as Kafka's own clients choose it: the positive part of the key's 32-bit MurmurHash2,
/// modulo the number of partitions.
///
/// # Panics
/// If `partition_count` is zero.
pub fn partition_of_key(key: &[u8], partition_count: usize) -> PartitionIndex {
    let positive = murmur2(key) & 0x7fff_ffff;
    (positive as usize % partition_count) as PartitionIndex
}

/// MurmurHash2 (Austin Appleby, public domain) with the seed that Kafka uses.
fn murmur2(data: &[u8]) -> u32 {
    const SEED: u32 = 0x9747_b28c;
    const MIX: u32 = 0x5bd1_e995;
    let mut hash = SEED ^ data.len() as u32;
    let (words, rest) = data.as_chunks::<4>();
    for word in words {
        let mut mixed = u32::from_le_bytes(*word).wrapping_mul(MIX);
        mixed ^= mixed >> 24;
        hash = hash.wrapping_mul(MIX) ^ mixed.wrapping_mul(MIX);
    }
    if !rest.is_empty() {
        for (index, &byte) in rest.iter().enumerate() {
            hash ^= u32::from(byte) << (8 * index);
        }
        hash = hash.wrapping_mul(MIX);
    }
    hash ^= hash >> 13;
    hash = hash.wrapping_mul(MIX);
    hash ^ (hash >> 15)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hashes_are_those_of_kafkas_clients() {
        // Computed by org.apache.kafka.common.utils.Utils.murmur2 of Kafka 4.3.1.
        let table: [(&[u8], i32); 5] = [
            (b"21", -973_932_308),
            (b"foobar", -790_332_482),
            (b"a-little-bit-long-string", -985_981_536),
            (b"abc", 479_470_107),
            (b"", 275_646_681),
        ];
        for (key, expected) in table {
            assert_eq!(murmur2(key) as i32, expected, "{key:?}");
        }
    }
}
