//! Groups.

use super::super::{CommitBegun, CoordinatorSeen, GroupSeen, OffsetCommitted, QuorumSeen};
use super::{Death, Event, Settings, Told, a, tell, tell_with};
use crate::history::Key;
use crate::history::story::key;
use types::{ErrorCode, Offset};

impl Told {
    fn begin(&mut self, offset: Offset) {
        self.begin_in(1, offset);
    }

    fn begin_in(&mut self, generation: i32, offset: Offset) {
        self.begin_at(0, generation, offset);
    }

    fn begin_at(&mut self, began: u64, generation: i32, offset: Offset) {
        self.event(Event::CommitBegun(CommitBegun {
            began,
            coordinator: 3,
            group: "g".into(),
            generation,
            key: a(),
            offset,
        }));
    }

    pub(super) fn committed(&mut self, generation: i32, offset: Offset) {
        self.answer_at(0, generation, offset, ErrorCode::None);
    }

    pub(super) fn answer_at(
        &mut self,
        began: u64,
        generation: i32,
        offset: Offset,
        error: ErrorCode,
    ) {
        self.event(Event::OffsetCommitted(OffsetCommitted {
            node: 1,
            began,
            coordinator: 3,
            group: "g".into(),
            generation,
            key: a(),
            offset,
            error,
        }));
    }

    fn group(&mut self, generation: i32, offsets: &[Offset]) {
        self.owned(generation, offsets, &[]);
    }

    fn owned(&mut self, generation: i32, offsets: &[Offset], owners: &[(&str, &[Key])]) {
        let owner = |(member, keys): &(&str, &[Key])| ((*member).to_owned(), keys.to_vec());
        self.coordinator(
            1,
            true,
            vec![GroupSeen {
                group: "g".into(),
                generation,
                is_stable: false,
                has_members: false,
                subscribed: vec![],
                owners: owners.iter().map(owner).collect(),
                offsets: offsets.iter().map(|offset| (a(), *offset)).collect(),
            }],
        );
    }

    /// A stable group, whose members read `a`, has this offset, if any.
    fn stable(&mut self, generation: i32, offset: Option<Offset>) {
        self.stable_at(true, generation, offset);
    }

    fn stable_at(&mut self, is_settled: bool, generation: i32, offset: Option<Offset>) {
        self.coordinator_at(
            1,
            true,
            is_settled,
            vec![GroupSeen {
                group: "g".into(),
                generation,
                is_stable: true,
                has_members: true,
                subscribed: vec![a().topic],
                owners: vec![],
                offsets: offset.map(|offset| (a(), offset)).into_iter().collect(),
            }],
        );
    }

    fn coordinator(&mut self, leader_epoch: i32, is_serving: bool, groups: Vec<GroupSeen>) {
        self.coordinator_at(leader_epoch, is_serving, true, groups);
    }

    fn coordinator_at(
        &mut self,
        leader_epoch: i32,
        is_serving: bool,
        is_settled: bool,
        groups: Vec<GroupSeen>,
    ) {
        self.event(Event::Coordinator(CoordinatorSeen {
            node: 1,
            partition: 3,
            leader_epoch,
            is_serving,
            is_settled,
            groups,
        }));
    }

    pub(super) fn dies(&mut self, death: Death) {
        self.event(Event::Died {
            node: 1,
            death,
            durable: vec![],
        });
    }

    fn deletes(&mut self) {
        self.event(Event::GroupDeleting { group: "g".into() });
    }

    fn deleted(&mut self) {
        self.event(Event::GroupDeleted { group: "g".into() });
    }

    pub(super) fn quorum(
        &mut self,
        log_start: Offset,
        snapshots: &[Offset],
        high_watermark: Offset,
    ) {
        self.event(Event::Quorum(QuorumSeen {
            node: 1,
            leader_epoch: 1,
            log_start,
            flushed: 10,
            log_end: 12,
            high_watermark: Some(high_watermark),
            snapshots: snapshots.to_vec(),
            is_alone: true,
        }));
    }

    pub(super) fn image(&mut self, offset: Offset, hash: u64) {
        self.event(Event::ImageSeen {
            node: 1,
            offset,
            hash,
        });
    }
}

#[test]
fn committed_offsets_stay() {
    tell(&[
        (
            "through a restart",
            |told| {
                told.begin(5);
                told.group(1, &[5]);
                told.committed(1, 5);
                told.dies(Death::Kill);
                told.group(1, &[5]);
            },
            "",
        ),
        (
            "an older one comes back",
            |told| {
                for offset in [3, 5] {
                    told.begin(offset);
                    told.committed(1, offset);
                }
                told.dies(Death::Kill);
                told.group(1, &[3]);
            },
            "S32",
        ),
        (
            "an older one comes back: it was committed again and nobody was told",
            |told| {
                for offset in [3, 5] {
                    told.begin(offset);
                    told.committed(1, offset);
                }
                told.begin(3);
                told.dies(Death::Kill);
                told.group(1, &[3]);
            },
            "",
        ),
        (
            "it is gone",
            |told| {
                told.begin(5);
                told.committed(1, 5);
                told.group(1, &[]);
            },
            "S32",
        ),
        (
            "two answers overtake each other",
            |told| {
                told.begin(3);
                told.begin(5);
                told.committed(1, 5);
                told.committed(1, 3);
                told.group(1, &[5]);
            },
            "",
        ),
        (
            "nobody tells of beginnings",
            |told| {
                told.committed(1, 5);
                told.group(1, &[6]);
            },
            "",
        ),
    ]);
    let settings = Settings {
        commits_are_replicated: true,
        ..Settings::default()
    };
    tell_with(
        &settings,
        &[(
            "unflushed commits go with the power",
            |told| {
                for offset in [3, 5] {
                    told.begin(offset);
                    told.committed(1, offset);
                }
                told.dies(Death::Power);
                told.group(1, &[3]);
            },
            "",
        )],
    );
}

#[test]
fn what_members_read_does_not_expire() {
    let settings = Settings {
        offsets_expire: true,
        ..Settings::default()
    };
    tell_with(
        &settings,
        &[
            (
                "offsets expire",
                |told| {
                    told.begin(5);
                    told.committed(1, 5);
                    told.group(1, &[]);
                },
                "",
            ),
            (
                "while members read",
                |told| {
                    told.stable(1, Some(5));
                    told.stable(1, None);
                },
                "S32",
            ),
            (
                "before members came, with its end still on its way into the log",
                |told| {
                    told.group(1, &[5]);
                    told.stable_at(false, 1, Some(5));
                    told.stable(1, None);
                },
                "",
            ),
            (
                "while members read, though others commit all the time",
                |told| {
                    told.stable(1, Some(5));
                    told.stable_at(false, 1, Some(5));
                    told.stable_at(false, 1, None);
                },
                "S32",
            ),
            (
                "before members came",
                |told| {
                    told.group(1, &[5]);
                    told.stable(1, None);
                },
                "",
            ),
            (
                "with their topic",
                |told| {
                    told.stable(1, Some(5));
                    let topics = Default::default();
                    told.event(Event::TopicsSeen { topics });
                    told.stable(1, None);
                },
                "",
            ),
        ],
    );
}

#[test]
fn offsets_go_with_their_group() {
    tell(&[
        (
            "while it is deleted",
            |told| {
                told.begin(5);
                told.committed(1, 5);
                told.deletes();
                told.group(1, &[5]);
                told.coordinator(1, true, vec![]);
                told.group(0, &[]);
            },
            "",
        ),
        (
            "when it is deleted",
            |told| {
                told.begin(5);
                told.committed(1, 5);
                told.deletes();
                told.deleted();
                told.group(0, &[]);
            },
            "",
        ),
        (
            "they are there when it is deleted",
            |told| {
                told.begin(5);
                told.committed(1, 5);
                told.deletes();
                told.deleted();
                told.group(0, &[5]);
            },
            "S32",
        ),
        (
            "they are committed again while it is deleted",
            |told| {
                told.begin(5);
                told.committed(1, 5);
                told.deletes();
                told.begin(5);
                told.committed(1, 5);
                told.deleted();
                told.group(0, &[5]);
            },
            "",
        ),
        (
            "while it is deleted, though another of its name has members already",
            |told| {
                told.group(1, &[5]);
                told.deletes();
                told.stable(1, Some(5));
                told.stable(1, None);
            },
            "",
        ),
        (
            "after it was deleted, from another of its name that has members",
            |told| {
                told.group(1, &[5]);
                told.deletes();
                told.stable(1, None);
                told.stable(1, Some(6));
                told.stable(1, None);
            },
            "S32",
        ),
        (
            "what was committed after it is gone",
            |told| {
                told.deletes();
                told.deleted();
                told.begin(5);
                told.committed(1, 5);
                told.group(0, &[]);
            },
            "S32",
        ),
    ]);
}

#[test]
fn groups_go_forward() {
    tell(&[
        (
            "a generation goes back",
            |told| {
                told.group(4, &[]);
                told.group(3, &[]);
            },
            "S33",
        ),
        (
            "a generation goes back with its coordinator: it was never stored",
            |told| {
                told.group(4, &[]);
                told.dies(Death::Kill);
                told.group(3, &[]);
            },
            "",
        ),
        (
            "a generation goes back behind one that was stable",
            |told| {
                told.stable(4, None);
                told.group(5, &[]);
                told.dies(Death::Kill);
                told.group(3, &[]);
            },
            "S33",
        ),
        (
            "a generation goes back to one that was stable",
            |told| {
                told.stable(4, None);
                told.group(5, &[]);
                told.dies(Death::Kill);
                told.group(4, &[]);
            },
            "",
        ),
        (
            "a stable group was removed",
            |told| {
                told.stable(4, None);
                told.coordinator(1, true, vec![]);
                told.group(0, &[]);
            },
            "",
        ),
        (
            "a group that was removed begins anew",
            |told| {
                told.group(4, &[]);
                told.group(1, &[]);
            },
            "",
        ),
        (
            "a partition with two owners",
            |told| told.owned(4, &[], &[("m", &[key("a")]), ("n", &[key("a")])]),
            "S33",
        ),
        (
            "each its own",
            |told| told.owned(4, &[], &[("m", &[key("a")]), ("n", &[key("b")])]),
            "",
        ),
    ]);
}

#[test]
fn only_members_of_this_generation_commit() {
    tell(&[
        (
            "a commit of an old generation",
            |told| {
                told.group(4, &[]);
                told.committed(3, 5);
            },
            "S33",
        ),
        (
            "a commit that came after its generation",
            |told| {
                told.group(4, &[]);
                told.begin_in(3, 5);
                told.committed(3, 5);
            },
            "S33",
        ),
        (
            "a commit whose generation ended before it was in the log",
            |told| {
                told.group(3, &[]);
                told.begin_in(3, 5);
                told.group(4, &[]);
                told.committed(3, 5);
            },
            "",
        ),
        (
            "a commit without membership",
            |told| {
                told.group(4, &[]);
                told.committed(-1, 5);
            },
            "",
        ),
        (
            "a commit without membership, though there are members",
            |told| {
                told.stable(4, None);
                told.begin_in(-1, 5);
                told.committed(-1, 5);
            },
            "S33",
        ),
        (
            "a commit without membership, begun before there were members",
            |told| {
                told.begin_in(-1, 5);
                told.stable(4, None);
                told.committed(-1, 5);
            },
            "",
        ),
        (
            "begun before there were members, and asked for again in vain while there are",
            |told| {
                told.begin_at(10, -1, 5);
                told.stable(4, None);
                told.begin_at(20, -1, 5);
                told.answer_at(20, -1, 5, ErrorCode::UnknownMemberId);
                told.answer_at(10, -1, 5, ErrorCode::None);
            },
            "",
        ),
        (
            "begun before there were members, and accepted when it is asked for again",
            |told| {
                told.begin_at(10, -1, 5);
                told.stable(4, None);
                told.begin_at(20, -1, 5);
                told.answer_at(20, -1, 5, ErrorCode::None);
            },
            "S33",
        ),
        (
            "acknowledged before all was loaded",
            |told| {
                told.coordinator(2, false, vec![]);
                told.committed(-1, 5);
            },
            "S34",
        ),
        (
            "accepted, and then the coordinator stopped serving",
            |told| {
                told.coordinator(2, true, vec![]);
                told.begin_in(-1, 5);
                told.coordinator(3, false, vec![]);
                told.committed(-1, 5);
            },
            "",
        ),
        (
            "a coordinator's epoch goes back",
            |told| {
                told.coordinator(2, true, vec![]);
                told.coordinator(1, true, vec![]);
            },
            "S34",
        ),
    ]);
}
