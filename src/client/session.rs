//! Incremental fetch sessions (KIP-227), the client's side.
//!
//! The broker remembers what one client fetches, so that requests name only what changed and answers only what has
//! news.

use std::collections::BTreeMap;

use protocol::messages::FetchRequest;
use protocol::messages::fetch_request::{FetchPartition, FetchTopic, ForgottenTopic};
use types::{LeaderEpoch, Offset, Uuid};

use crate::offsets::NamedPartition;

/// The epoch of a request that asks for a new session.
const FIRST_EPOCH: i32 = 0;
/// The epoch of a request outside of sessions.
const NO_EPOCH: i32 = -1;
/// The id of no session.
const NO_ID: i32 = 0;

/// What is fetched of a partition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Wanted {
    pub(crate) topic_id: Uuid,
    pub(crate) offset: Offset,
    pub(crate) leader_epoch: LeaderEpoch,
    pub(crate) bytes_max: i32,
}

/// A session with one broker.
#[derive(Debug)]
pub(crate) struct Session {
    id: i32,
    /// Epoch of the next request.
    epoch: i32,
    /// What the broker remembers once it has the last request.
    partitions: BTreeMap<NamedPartition, Wanted>,
}

impl Session {
    /// A session to be asked for, or the way to do without.
    pub(crate) fn new(uses_sessions: bool) -> Session {
        Session {
            id: NO_ID,
            epoch: if uses_sessions { FIRST_EPOCH } else { NO_EPOCH },
            partitions: BTreeMap::new(),
        }
    }

    fn is_incremental(&self) -> bool {
        self.epoch > FIRST_EPOCH
    }

    /// Puts into `request` what the broker needs to know to fetch `wanted`.
    pub(crate) fn fill(
        &mut self,
        request: &mut FetchRequest,
        wanted: &BTreeMap<NamedPartition, Wanted>,
    ) {
        request.session_id = self.id;
        request.session_epoch = self.epoch;
        let is_incremental = self.is_incremental();
        let known = |key: &NamedPartition| self.partitions.get(key).filter(|_| is_incremental);
        let news = wanted
            .iter()
            .filter(|&(key, wanted)| known(key) != Some(wanted));
        request.topics = fetch_topics(news);
        if is_incremental {
            let gone = self.partitions.iter().filter(|&(key, old)| {
                wanted
                    .get(key)
                    .is_none_or(|new| new.topic_id != old.topic_id)
            });
            request.forgotten_topics_data = forgotten_topics(gone);
        }
        self.partitions.clone_from(wanted);
    }

    /// Takes note of an answer without an error of its own.
    pub(crate) fn answered(&mut self, session_id: i32) {
        if self.epoch == NO_EPOCH {
            return;
        }
        if session_id == NO_ID {
            // The broker has no room for a session, or closed it.
            self.id = NO_ID;
            self.epoch = FIRST_EPOCH;
            return;
        }
        self.id = session_id;
        self.epoch = self.epoch.checked_add(1).unwrap_or(FIRST_EPOCH + 1);
    }

    /// Takes note that the broker's memory and ours may differ: the next request begins anew, in place of this one.
    pub(crate) fn failed(&mut self) {
        if self.epoch != NO_EPOCH {
            self.epoch = FIRST_EPOCH;
        }
    }

    /// Takes note that the broker does not know the session.
    pub(crate) fn forgotten(&mut self) {
        self.id = NO_ID;
        self.failed();
    }
}

fn fetch_topics<'a>(
    partitions: impl Iterator<Item = (&'a NamedPartition, &'a Wanted)>,
) -> Vec<FetchTopic> {
    let mut topics: BTreeMap<&str, FetchTopic> = BTreeMap::new();
    for ((name, partition), wanted) in partitions {
        let topic = topics.entry(name).or_insert_with(|| FetchTopic {
            topic: name.clone(),
            topic_id: wanted.topic_id,
            ..FetchTopic::default()
        });
        topic.partitions.push(FetchPartition {
            partition: *partition,
            current_leader_epoch: wanted.leader_epoch,
            fetch_offset: wanted.offset,
            partition_max_bytes: wanted.bytes_max,
            ..FetchPartition::default()
        });
    }
    topics.into_values().collect()
}

fn forgotten_topics<'a>(
    partitions: impl Iterator<Item = (&'a NamedPartition, &'a Wanted)>,
) -> Vec<ForgottenTopic> {
    let mut topics: BTreeMap<&str, ForgottenTopic> = BTreeMap::new();
    for ((name, partition), wanted) in partitions {
        let topic = topics.entry(name).or_insert_with(|| ForgottenTopic {
            topic: name.clone(),
            topic_id: wanted.topic_id,
            ..ForgottenTopic::default()
        });
        topic.partitions.push(*partition);
    }
    topics.into_values().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    type Story<'a> = &'a [(i32, Offset)];

    fn wanted(story: Story<'_>, topic_id: u128) -> BTreeMap<NamedPartition, Wanted> {
        let entry = |&(partition, offset): &(i32, Offset)| {
            let wanted = Wanted {
                topic_id: Uuid::from_u128(topic_id),
                offset,
                leader_epoch: 0,
                bytes_max: 1000,
            };
            (("t".to_owned(), partition), wanted)
        };
        story.iter().map(entry).collect()
    }

    /// Session id and epoch, the partitions named, the partitions forgotten.
    fn asked(session: &mut Session, story: Story<'_>) -> (i32, i32, Vec<i32>, Vec<i32>) {
        asked_of(session, story, 1)
    }

    fn asked_of(
        session: &mut Session,
        story: Story<'_>,
        topic_id: u128,
    ) -> (i32, i32, Vec<i32>, Vec<i32>) {
        let mut request = FetchRequest::default();
        session.fill(&mut request, &wanted(story, topic_id));
        let named = request.topics.iter().flat_map(|topic| &topic.partitions);
        let named = named.map(|partition| partition.partition).collect();
        let forgotten = request.forgotten_topics_data.iter();
        let forgotten = forgotten
            .flat_map(|topic| topic.partitions.clone())
            .collect();
        (request.session_id, request.session_epoch, named, forgotten)
    }

    #[test]
    fn requests_name_what_changed_since_the_last_one() {
        let mut session = Session::new(true);
        let both: Story<'_> = &[(0, 5), (1, 5)];
        assert_eq!(asked(&mut session, both), (0, 0, vec![0, 1], vec![]));
        session.answered(77);
        assert_eq!(asked(&mut session, both), (77, 1, vec![], vec![]));
        session.answered(77);
        assert_eq!(
            asked(&mut session, &[(0, 6), (1, 5)]),
            (77, 2, vec![0], vec![])
        );
        session.answered(77);
        assert_eq!(
            asked(&mut session, &[(1, 5), (2, 0)]),
            (77, 3, vec![2], vec![0])
        );
        session.answered(77);
        let replaced = asked_of(&mut session, &[(1, 5), (2, 0)], 2);
        assert_eq!(
            replaced,
            (77, 4, vec![1, 2], vec![1, 2]),
            "another topic of that name"
        );
    }

    #[test]
    fn a_session_begins_anew_after_failures() {
        let mut session = Session::new(true);
        let one: Story<'_> = &[(0, 5)];
        asked(&mut session, one);
        session.answered(77);
        session.failed();
        assert_eq!(
            asked(&mut session, one),
            (77, 0, vec![0], vec![]),
            "in its own place"
        );
        session.answered(78);
        session.forgotten();
        assert_eq!(asked(&mut session, one), (0, 0, vec![0], vec![]));
        session.answered(0);
        assert_eq!(
            asked(&mut session, one),
            (0, 0, vec![0], vec![]),
            "it was not granted"
        );
    }

    #[test]
    fn without_sessions_every_request_names_everything() {
        let mut session = Session::new(false);
        for _ in 0..2 {
            assert_eq!(asked(&mut session, &[(0, 5)]), (0, -1, vec![0], vec![]));
            session.answered(0);
            session.failed();
        }
    }
}
