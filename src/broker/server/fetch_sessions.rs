//! Incremental fetch sessions (KIP-227): what a consumer asked for and was told, so that it need not repeat it.

use std::collections::BTreeMap;
use std::sync::Arc;

use types::{ErrorCode, LeaderEpoch, Mono, Offset, PartitionIndex, Prng, Uuid};

/// The epoch of a request that begins a session, or asks for everything without one.
pub const INITIAL_EPOCH: i32 = 0;
/// The epoch of a request that ends its session.
pub const FINAL_EPOCH: i32 = -1;
/// A session untouched for so long gives its slot to a new one, in milliseconds.
const EVICTION_MS: i64 = 120_000;

/// A topic as the request names it: by id since Fetch 13, by name before.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum TopicKey {
    /// By id.
    Id(Uuid),
    /// By name.
    Name(Arc<str>),
}

/// What is asked of one partition.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Wanted {
    /// First offset wanted.
    pub fetch_offset: Offset,
    /// The leader epoch that the client knows, or -1.
    pub current_leader_epoch: LeaderEpoch,
    /// The epoch of the last record it has, or -1.
    pub last_fetched_epoch: LeaderEpoch,
    /// Most bytes of this partition.
    pub partition_max_bytes: i32,
}

/// What a partition's answer said, as far as a later answer may leave it out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Told {
    /// High watermark.
    pub high_watermark: Offset,
    /// Log start offset.
    pub log_start_offset: Offset,
    /// Whether it was an error.
    pub is_error: bool,
    /// Whether it carried records.
    pub has_records: bool,
}

type Key = (TopicKey, PartitionIndex);

#[derive(Debug)]
struct Entry {
    key: Key,
    wanted: Wanted,
    told: Option<(Offset, Offset)>,
}

#[derive(Debug)]
struct Session {
    epoch: i32,
    uses_topic_ids: bool,
    last_used: Mono,
    /// In the order in which partitions are read; one that gave records goes to the end.
    order: BTreeMap<u64, Entry>,
    places: BTreeMap<Key, u64>,
    next_place: u64,
}

impl Session {
    fn new(uses_topic_ids: bool, now: Mono) -> Session {
        Session {
            epoch: 1,
            uses_topic_ids,
            last_used: now,
            order: BTreeMap::new(),
            places: BTreeMap::new(),
            next_place: 0,
        }
    }

    fn update(&mut self, wanted: &[(Key, Wanted)], forgotten: &[Key]) {
        for key in forgotten {
            if let Some(place) = self.places.remove(key) {
                self.order.remove(&place);
            }
        }
        for (key, wanted) in wanted {
            if let Some(place) = self.places.get(key) {
                self.order
                    .get_mut(place)
                    .expect("places and order agree")
                    .wanted = *wanted;
                continue;
            }
            let place = self.next_place;
            self.next_place += 1;
            self.places.insert(key.clone(), place);
            self.order.insert(
                place,
                Entry {
                    key: key.clone(),
                    wanted: *wanted,
                    told: None,
                },
            );
        }
        assert_eq!(self.order.len(), self.places.len());
    }

    fn list(&self) -> Vec<(Key, Wanted)> {
        self.order
            .values()
            .map(|entry| (entry.key.clone(), entry.wanted))
            .collect()
    }

    /// Notes what is told of `key`; says whether it is news.
    fn tell(&mut self, key: &Key, told: Told) -> bool {
        let Some(&place) = self.places.get(key) else {
            return true;
        };
        let entry = self.order.get_mut(&place).expect("places and order agree");
        let offsets = (told.high_watermark, told.log_start_offset);
        let is_news = told.has_records || told.is_error || entry.told != Some(offsets);
        // An error is told each time, and what follows it as well.
        entry.told = (!told.is_error).then_some(offsets);
        if !is_news && self.order.len() > 1 && types::planted!(FetchSessionDropsPartition) {
            self.places.remove(key);
            self.order.remove(&place);
            return false;
        }
        if told.has_records {
            let entry = self.order.remove(&place).expect("places and order agree");
            self.places.insert(key.clone(), self.next_place);
            self.order.insert(self.next_place, entry);
            self.next_place += 1;
        }
        is_news
    }
}

/// A request's session part.
#[derive(Debug, Clone, Copy)]
pub struct SessionRequest<'a> {
    /// Session id, or 0.
    pub id: i32,
    /// Session epoch.
    pub epoch: i32,
    /// Whether topics are named by id.
    pub uses_topic_ids: bool,
    /// Partitions asked for in this request.
    pub wanted: &'a [(Key, Wanted)],
    /// Partitions dropped from the session.
    pub forgotten: &'a [Key],
}

/// What a request is to be answered with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SessionPlan {
    /// Id for the response: 0 if there is no session.
    pub id: i32,
    /// Whether partitions without news are left out.
    pub is_incremental: bool,
    /// What to read, in this order.
    pub partitions: Vec<(Key, Wanted)>,
}

/// The sessions of a node.
#[derive(Debug)]
pub struct FetchSessions {
    slots: usize,
    sessions: BTreeMap<i32, Session>,
    prng: Prng,
}

impl FetchSessions {
    /// Room for `slots` sessions, with ids from `prng`.
    pub fn new(slots: usize, prng: Prng) -> FetchSessions {
        FetchSessions {
            slots,
            sessions: BTreeMap::new(),
            prng,
        }
    }

    /// How many sessions there are.
    pub fn len(&self) -> usize {
        self.sessions.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.sessions.is_empty()
    }

    /// Works out what to read for `request`.
    ///
    /// # Errors
    /// FETCH_SESSION_ID_NOT_FOUND, INVALID_FETCH_SESSION_EPOCH or FETCH_SESSION_TOPIC_ID_ERROR: the client begins anew.
    pub fn plan(
        &mut self,
        now: Mono,
        request: SessionRequest<'_>,
    ) -> Result<SessionPlan, ErrorCode> {
        if request.epoch == FINAL_EPOCH || request.epoch == INITIAL_EPOCH {
            self.sessions.remove(&request.id);
            let id = if request.epoch == INITIAL_EPOCH {
                self.begin(now, request)
            } else {
                0
            };
            let partitions = request.wanted.to_vec();
            return Ok(SessionPlan {
                id,
                is_incremental: false,
                partitions,
            });
        }
        let session = self
            .sessions
            .get_mut(&request.id)
            .ok_or(ErrorCode::FetchSessionIdNotFound)?;
        if session.epoch != request.epoch {
            return Err(ErrorCode::InvalidFetchSessionEpoch);
        }
        if session.uses_topic_ids != request.uses_topic_ids {
            return Err(ErrorCode::FetchSessionTopicIdError);
        }
        session.epoch = if session.epoch == i32::MAX {
            1
        } else {
            session.epoch + 1
        };
        session.last_used = now;
        session.update(request.wanted, request.forgotten);
        let partitions = session.list();
        Ok(SessionPlan {
            id: request.id,
            is_incremental: true,
            partitions,
        })
    }

    fn begin(&mut self, now: Mono, request: SessionRequest<'_>) -> i32 {
        if request.wanted.is_empty() || !self.has_slot(now) {
            return 0;
        }
        let id = loop {
            let id = (self.prng.next_u64() >> 33) as i32;
            if id != 0 && !self.sessions.contains_key(&id) {
                break id;
            }
        };
        let mut session = Session::new(request.uses_topic_ids, now);
        session.update(request.wanted, &[]);
        self.sessions.insert(id, session);
        assert!(self.sessions.len() <= self.slots);
        id
    }

    fn has_slot(&mut self, now: Mono) -> bool {
        if self.sessions.len() < self.slots {
            return true;
        }
        let oldest = self
            .sessions
            .iter()
            .min_by_key(|(_, session)| session.last_used);
        match oldest.map(|(&id, session)| (id, session.last_used)) {
            Some((id, last_used)) if last_used.plus_millis(EVICTION_MS) <= now => {
                self.sessions.remove(&id);
                true
            }
            _ => false,
        }
    }

    /// Notes what session `id` is told of a partition; says whether it must be in the answer.
    pub fn tell(
        &mut self,
        id: i32,
        topic: &TopicKey,
        partition: PartitionIndex,
        told: Told,
    ) -> bool {
        match self.sessions.get_mut(&id) {
            Some(session) => session.tell(&(topic.clone(), partition), told),
            None => true,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(partition: PartitionIndex) -> Key {
        (TopicKey::Id(Uuid::from_u128(7)), partition)
    }

    fn wanted(fetch_offset: Offset) -> Wanted {
        let none = -1;
        Wanted {
            fetch_offset,
            current_leader_epoch: none,
            last_fetched_epoch: none,
            partition_max_bytes: 1 << 20,
        }
    }

    fn request<'a>(id: i32, epoch: i32, wanted: &'a [(Key, Wanted)]) -> SessionRequest<'a> {
        SessionRequest {
            id,
            epoch,
            uses_topic_ids: true,
            wanted,
            forgotten: &[],
        }
    }

    fn told(high_watermark: Offset, has_records: bool) -> Told {
        Told {
            high_watermark,
            log_start_offset: 0,
            is_error: false,
            has_records,
        }
    }

    fn sessions(slots: usize) -> FetchSessions {
        FetchSessions::new(slots, Prng::new(1, "fetch sessions"))
    }

    #[test]
    fn a_session_repeats_what_was_wanted_and_leaves_out_what_is_no_news() {
        let mut sessions = sessions(10);
        let now = Mono::START;
        let both = [(key(0), wanted(0)), (key(1), wanted(0))];
        let first = sessions.plan(now, request(0, 0, &both)).unwrap();
        assert!(first.id != 0 && !first.is_incremental);
        let topic = key(0).0;
        assert!(sessions.tell(first.id, &topic, 0, told(5, true)));
        assert!(sessions.tell(first.id, &topic, 1, told(0, false)));

        let second = sessions
            .plan(now, request(first.id, 1, &[(key(0), wanted(5))]))
            .unwrap();
        // The partition that gave records is read last.
        assert_eq!(
            second.partitions,
            [(key(1), wanted(0)), (key(0), wanted(5))]
        );
        assert!(!sessions.tell(first.id, &topic, 1, told(0, false)));
        assert!(!sessions.tell(first.id, &topic, 0, told(5, false)));
        assert!(sessions.tell(first.id, &topic, 0, told(6, false)));
    }

    #[test]
    fn unknown_sessions_and_wrong_epochs_are_refused() {
        let mut sessions = sessions(10);
        let now = Mono::START;
        let not_found = sessions.plan(now, request(9, 1, &[]));
        assert_eq!(not_found, Err(ErrorCode::FetchSessionIdNotFound));
        let id = sessions
            .plan(now, request(0, 0, &[(key(0), wanted(0))]))
            .unwrap()
            .id;
        let wrong_epoch = sessions.plan(now, request(id, 2, &[]));
        assert_eq!(wrong_epoch, Err(ErrorCode::InvalidFetchSessionEpoch));
        let by_name = SessionRequest {
            uses_topic_ids: false,
            ..request(id, 1, &[])
        };
        assert_eq!(
            sessions.plan(now, by_name),
            Err(ErrorCode::FetchSessionTopicIdError)
        );
    }

    #[test]
    fn a_full_cache_gives_a_slot_only_of_an_old_session() {
        let mut sessions = sessions(1);
        let one = [(key(0), wanted(0))];
        let first = sessions.plan(Mono::START, request(0, 0, &one)).unwrap().id;
        assert!(first != 0);
        let none = sessions.plan(
            Mono::START.plus_millis(EVICTION_MS - 1),
            request(0, 0, &one),
        );
        assert_eq!(none.unwrap().id, 0);
        let later = sessions.plan(Mono::START.plus_millis(EVICTION_MS), request(0, 0, &one));
        assert!(later.unwrap().id != 0);
        assert_eq!(sessions.len(), 1);
    }

    #[test]
    fn the_final_epoch_ends_a_session() {
        let mut sessions = sessions(10);
        let one = [(key(0), wanted(0))];
        let id = sessions.plan(Mono::START, request(0, 0, &one)).unwrap().id;
        let last = sessions
            .plan(Mono::START, request(id, FINAL_EPOCH, &one))
            .unwrap();
        assert_eq!((last.id, last.is_incremental), (0, false));
        assert!(sessions.is_empty());
    }
}
