//! The topics in a consumer's join metadata.
//!
//! Kafka's embedded consumer protocol begins with a version and the list of topics in every version; the rest is not
//! looked at here. A coordinator otherwise passes these bytes through.

use std::collections::BTreeSet;

/// The topics of one consumer's subscription, or `None` if the bytes are not one.
///
/// Reads at most what is there: lengths are compared with what remains before anything is taken.
pub(super) fn subscribed_topics(metadata: &[u8]) -> Option<BTreeSet<String>> {
    let (version, mut rest) = metadata.split_first_chunk::<2>()?;
    if i16::from_be_bytes(*version) < 0 {
        return None;
    }
    let (count, after) = rest.split_first_chunk::<4>()?;
    rest = after;
    let count = usize::try_from(i32::from_be_bytes(*count)).ok()?;
    let mut topics = BTreeSet::new();
    for _ in 0..count {
        let (length, after) = rest.split_first_chunk::<2>()?;
        let length = usize::try_from(i16::from_be_bytes(*length)).ok()?;
        let topic = after.get(..length)?;
        rest = &after[length..];
        topics.insert(std::str::from_utf8(topic).ok()?.to_owned());
    }
    Some(topics)
}

#[cfg(test)]
mod tests {
    use super::subscribed_topics;

    #[test]
    fn reads_topics_and_refuses_everything_else() {
        let topics = |bytes: &[u8]| {
            subscribed_topics(bytes).map(|set| set.into_iter().collect::<Vec<_>>().join(","))
        };
        // Written by the Java client: version 1, topics a and bc, no user data, owned partitions.
        let good = b"\0\x01\0\0\0\x02\0\x01a\0\x02bc\xff\xff\xff\xff\0\0\0\0";
        assert_eq!(topics(good).as_deref(), Some("a,bc"));
        assert_eq!(topics(b"\0\0\0\0\0\0\xff\xff\xff\xff").as_deref(), Some(""));
        for cut in 0..13 {
            assert_eq!(topics(&good[..cut]), None, "cut at {cut}");
        }
        assert_eq!(topics(b"\xff\xff\0\0\0\0"), None);
        assert_eq!(topics(b"\0\0\xff\xff\xff\xff"), None);
        assert_eq!(topics(b"\0\0\x7f\xff\xff\xff\0\x01a"), None);
        assert_eq!(topics(b"\0\0\0\0\0\x01\0\x01\xff"), None);
    }
}
