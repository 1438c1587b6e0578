//! Who of a group consumes what.

use std::collections::BTreeMap;

use types::PartitionIndex;

/// A member of a group that asks for topics.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Member {
    /// The id that the coordinator gave it.
    pub member_id: String,
    /// Its lasting name, if it has one.
    pub group_instance_id: Option<String>,
    /// Topics that it asks for.
    pub topics: Vec<String>,
}

/// What each member is given: by member id, by topic.
pub type Assignments = BTreeMap<String, BTreeMap<String, Vec<PartitionIndex>>>;

/// Kafka's range assignor: each topic's partitions are dealt in contiguous ranges to the members that ask for it, the
/// first ones getting one more if it does not come out even. Members with lasting names come first, by name; the
/// others by their ids. Topics without an entry in `partition_counts` are left out.
pub fn assign_ranges(
    members: &[Member],
    partition_counts: &BTreeMap<String, usize>,
) -> Assignments {
    let mut ordered: Vec<&Member> = members.iter().collect();
    ordered.sort_by(|a, b| order(a).cmp(&order(b)));
    let mut assignments: Assignments = members
        .iter()
        .map(|member| (member.member_id.clone(), BTreeMap::new()))
        .collect();
    for (topic, &count) in partition_counts {
        let takers: Vec<_> = ordered
            .iter()
            .filter(|member| member.topics.contains(topic))
            .collect();
        if takers.is_empty() {
            continue;
        }
        let (each, extra) = (count / takers.len(), count % takers.len());
        let mut next = 0;
        for (index, taker) in takers.iter().enumerate() {
            let end = next + each + usize::from(index < extra);
            let range: Vec<_> = (next as PartitionIndex..end as PartitionIndex).collect();
            next = end;
            if !range.is_empty() {
                let given = assignments.entry(taker.member_id.clone()).or_default();
                given.insert(topic.clone(), range);
            }
        }
    }
    assignments
}

fn order(member: &Member) -> (bool, Option<&str>, &str) {
    let name = member.group_instance_id.as_deref();
    (name.is_none(), name, &member.member_id)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn member(id: &str, instance: Option<&str>, topics: &[&str]) -> Member {
        Member {
            member_id: id.to_owned(),
            group_instance_id: instance.map(str::to_owned),
            topics: topics.iter().map(|&topic| topic.to_owned()).collect(),
        }
    }

    fn given(assignments: &Assignments, id: &str) -> Vec<(String, Vec<PartitionIndex>)> {
        assignments[id].clone().into_iter().collect()
    }

    #[test]
    fn ranges_are_dealt_topic_by_topic() {
        let members = [
            member("b", None, &["t1", "t2"]),
            member("a", None, &["t1"]),
            member("z", Some("first"), &["t2", "unknown"]),
        ];
        let counts = BTreeMap::from([("t1".to_owned(), 3), ("t2".to_owned(), 1)]);
        let assignments = assign_ranges(&members, &counts);
        assert_eq!(given(&assignments, "a"), [("t1".to_owned(), vec![0, 1])]);
        assert_eq!(given(&assignments, "b"), [("t1".to_owned(), vec![2])]);
        assert_eq!(given(&assignments, "z"), [("t2".to_owned(), vec![0])]);
    }

    #[test]
    fn members_without_a_share_are_listed_with_nothing() {
        let members = [member("a", None, &["t"]), member("b", None, &["t"])];
        let assignments = assign_ranges(&members, &BTreeMap::from([("t".to_owned(), 1)]));
        assert_eq!(given(&assignments, "b"), []);
    }
}
