//! The table of what is expected, row by row.

use crate::checkers::CheckerId;
use crate::checkers::history::table::{Situation, TABLE};
use crate::history::{Acks, Durability, Isolation, Sending};

/// The seven configurations, in the table's order.
fn configurations() -> [(&'static str, Situation); 7] {
    let safe = Situation::SAFE;
    let sending = Some(Sending::SAFE);
    let plain = Some(Sending {
        idempotent: false,
        ..Sending::SAFE
    });
    let weak = Some(Sending {
        acks: Acks::Leader,
        ..Sending::SAFE
    });
    let transactional = Situation {
        is_transactional: true,
        sending,
        ..safe
    };
    [
        ("transactions, assigned", transactional),
        (
            "transactions, subscribed",
            Situation {
                is_subscribed: true,
                ..transactional
            },
        ),
        ("plain", Situation { sending, ..safe }),
        (
            "no idempotence",
            Situation {
                sending: plain,
                ..safe
            },
        ),
        (
            "acks<=1",
            Situation {
                sending: weak,
                ..safe
            },
        ),
        (
            "read_uncommitted",
            Situation {
                isolation: Isolation::ReadUncommitted,
                ..safe
            },
        ),
        (
            "unclean election",
            Situation {
                unclean_election: true,
                ..safe
            },
        ),
    ]
}

#[test]
fn each_row_says_what_the_specification_says() {
    use CheckerId::*;
    // V: wrong; o: permitted. One letter for each configuration.
    let rows = [
        (H1a, "V V V V V V o"),
        (H1b, "V V V V o V o"),
        (H2, "V V V o V V V"),
        (H3, "V V V V o V o"),
        (H16, "V V V V o V o"),
        (H23, "V V V V o V V"),
        (H6, "o o o o o o o"),
        (H9, "V V V V V V o"),
        (H10, "V V V V V V o"),
        (H11, "V o V V V V o"),
        (H12, "V o V V V V o"),
        (H13, "o o o o o o o"),
        (H14, "V V V o V V o"),
        (H15, "V V V o V V o"),
        (H20, "V V V V V V o"),
        (H21, "V V V V V V o"),
        (H26, "V V V V o V o"),
    ];
    for (checker, row) in rows {
        let letters = row.split(' ');
        for (letter, (name, situation)) in letters.zip(configurations()) {
            let is_violation = situation.is_violation(checker);
            assert_eq!(is_violation, letter == "V", "{checker} under {name}");
        }
    }
    let named: Vec<_> = TABLE.iter().map(|(name, _)| *name).collect();
    assert!(rows.iter().all(|(checker, _)| named.contains(checker)));
}

#[test]
fn conditions_of_the_table_hold() {
    let [transactional, subscribed, plain, no_idempotence, weak, ..] = configurations();
    let sending = no_idempotence.1.sending.expect("it sends");
    let with = |change: Sending| Situation {
        sending: Some(change),
        ..Situation::SAFE
    };
    let table = [
        // H2 at acks<=1 is permitted to those who are not idempotent.
        (
            CheckerId::H2,
            with(Sending {
                acks: Acks::Leader,
                ..sending
            }),
            false,
        ),
        (CheckerId::H2, weak.1, true),
        // H14: order is kept by those who never send again, or one at a time.
        (
            CheckerId::H14,
            with(Sending {
                in_flight_max: 1,
                ..sending
            }),
            true,
        ),
        (
            CheckerId::H14,
            with(Sending {
                retries: false,
                ..sending
            }),
            true,
        ),
        (CheckerId::H15, with(sending), false),
        // H9 inside a rebalance.
        (
            CheckerId::H9,
            Situation {
                is_rebalanced: true,
                ..subscribed.1
            },
            false,
        ),
        // H11 outside of transactions: wrong when partitions were assigned by hand.
        (
            CheckerId::H11,
            Situation {
                is_subscribed: true,
                ..plain.1
            },
            false,
        ),
        // H18: in the pipeline alone.
        (CheckerId::H18, subscribed.1, false),
        (
            CheckerId::H18,
            Situation {
                is_pipeline: true,
                ..subscribed.1
            },
            true,
        ),
        (CheckerId::H4, transactional.1, true),
    ];
    for (index, (checker, situation, expected)) in table.into_iter().enumerate() {
        assert_eq!(
            situation.is_violation(checker),
            expected,
            "line {index}: {checker}"
        );
    }
}

#[test]
fn one_replica_and_a_loss_of_power() {
    use CheckerId::*;
    let lost = |acks, class| Situation {
        sending: Some(Sending {
            acks,
            class,
            ..Sending::SAFE
        }),
        lost_power: true,
        ..Situation::SAFE
    };
    let flushed = lost(Acks::All, Durability::Flushed);
    let weak = lost(Acks::Leader, Durability::Flushed);
    let replicated = lost(Acks::All, Durability::Replicated);
    for (checker, _) in TABLE {
        let safe = Situation {
            sending: Some(Sending::SAFE),
            ..Situation::SAFE
        };
        // Flushed at acks=all keeps everything; replicated excuses offsets, never an anomaly.
        let before = safe.is_violation(*checker);
        assert_eq!(flushed.is_violation(*checker), before, "{checker}");
        assert_eq!(replicated.is_violation(*checker), before, "{checker}");
    }
    for checker in [H3, H16, H26] {
        assert!(!weak.is_violation(checker), "{checker}");
    }
    for checker in [H1a, H11, H12, H20] {
        assert!(weak.is_violation(checker), "{checker}");
    }
}
