//! What is a violation, by configuration.
//!
//! Kafka promises little to those who ask for little. The table says for each anomaly under which configurations it is wrong.

use crate::checkers::CheckerId;
use crate::history::{Acks, Durability, Isolation, Sending};

/// The configurations that the table tells apart.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Column {
    /// Safe, in transactions, partitions assigned by hand.
    TransactionsAssigned,
    /// Safe, in transactions, partitions from a group.
    TransactionsSubscribed,
    /// Safe, without transactions.
    Plain,
    /// Producers without idempotence.
    NoIdempotence,
    /// acks=0 or acks=1.
    AcksAtMostOne,
    /// Consumers at read_uncommitted.
    ReadUncommitted,
    /// Leaders that lack committed records may be elected.
    UncleanElection,
}

/// What the table says of one anomaly under one configuration.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Cell {
    /// Wrong.
    Violation,
    /// Kafka permits it.
    Permitted,
    /// It cannot arise.
    NotApplicable,
    /// Wrong, unless the partition moved while the operation ran.
    UnlessRebalanced,
    /// Wrong when partitions were assigned by hand.
    IfAssigned,
    /// Permitted to producers that are not idempotent.
    IfIdempotent,
    /// Permitted when batches may overtake each other: retries with more than one in flight.
    UnlessReordered,
    /// Wrong where offsets are committed inside the transaction.
    InPipeline,
}

use Cell::{IfAssigned, IfIdempotent, InPipeline, UnlessRebalanced, UnlessReordered};
use Cell::{NotApplicable as N, Permitted as O, Violation as V};

/// One row for each anomaly, in the order of [`Column`].
///
/// H4 is the aborted transaction, H23 the failed plain send. H7 is the cycle of reads alone; cycles that need the order of writes are permitted everywhere.
pub const TABLE: &[(CheckerId, [Cell; 7])] = &[
    (CheckerId::H1a, [V, V, V, V, V, V, O]),
    (CheckerId::H1b, [V, V, V, V, O, V, O]),
    (CheckerId::H2, [V, V, V, O, IfIdempotent, V, V]),
    (CheckerId::H3, [V, V, V, V, O, V, O]),
    (CheckerId::H16, [V, V, V, V, O, V, O]),
    (CheckerId::H4, [V, V, N, N, N, O, V]),
    (CheckerId::H23, [V, V, V, V, O, V, V]),
    (CheckerId::H6, [O, O, O, O, O, O, O]),
    (CheckerId::H7, [V, V, V, V, V, O, V]),
    (CheckerId::H8, [V, V, N, N, N, O, V]),
    (CheckerId::H9, [V, UnlessRebalanced, V, V, V, V, O]),
    (CheckerId::H10, [V, UnlessRebalanced, V, V, V, V, O]),
    (CheckerId::H11, [V, O, IfAssigned, V, V, V, O]),
    (CheckerId::H12, [V, O, IfAssigned, V, V, V, O]),
    (CheckerId::H13, [O, O, O, O, O, O, O]),
    (CheckerId::H14, [V, V, V, UnlessReordered, V, V, O]),
    (CheckerId::H15, [V, V, V, UnlessReordered, V, V, O]),
    (CheckerId::H18, [N, InPipeline, O, O, O, O, O]),
    (CheckerId::H20, [V, V, V, V, V, V, O]),
    (CheckerId::H21, [V, V, V, V, V, V, O]),
    (CheckerId::H22, [V, V, N, N, O, V, V]),
    (CheckerId::H24, [V, V, N, N, O, V, V]),
    (CheckerId::H25, [V, V, V, V, O, V, V]),
    (CheckerId::H26, [V, V, V, V, O, V, O]),
];

/// Under what an anomaly was seen.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Situation {
    /// The producer's effective configuration, if a producer is concerned.
    pub sending: Option<Sending>,
    /// What the consumer may see, if one is concerned.
    pub isolation: Isolation,
    /// Whether the records were written in transactions.
    pub is_transactional: bool,
    /// Whether the consumer's partitions come from a group.
    pub is_subscribed: bool,
    /// Whether the partition came or went while the operation ran.
    pub is_rebalanced: bool,
    /// Whether offsets are committed inside transactions.
    pub is_pipeline: bool,
    /// Whether leaders that lack committed records may be elected.
    pub unclean_election: bool,
    /// Whether a broker lost its power meanwhile.
    pub lost_power: bool,
}

impl Situation {
    /// The safest of all: nothing happened, everybody asked for the most.
    pub const SAFE: Situation = Situation {
        sending: None,
        isolation: Isolation::ReadCommitted,
        is_transactional: false,
        is_subscribed: false,
        is_rebalanced: false,
        is_pipeline: false,
        unclean_election: false,
        lost_power: false,
    };

    /// Whether `anomaly` is wrong here: every column that applies must say so.
    pub fn is_violation(&self, anomaly: CheckerId) -> bool {
        let Some((_, row)) = TABLE.iter().find(|(name, _)| *name == anomaly) else {
            return true;
        };
        let columns = self.columns();
        columns
            .iter()
            .all(|&column| self.holds(row[column as usize]))
            && !self.is_excused_by_power(anomaly)
    }

    /// The columns that apply.
    fn columns(&self) -> Vec<Column> {
        let base = match (self.is_transactional, self.is_subscribed) {
            (true, false) => Column::TransactionsAssigned,
            (true, true) => Column::TransactionsSubscribed,
            (false, _) => Column::Plain,
        };
        let mut columns = vec![base];
        if let Some(sending) = self.sending {
            if !sending.idempotent {
                columns.push(Column::NoIdempotence);
            }
            if sending.acks != Acks::All {
                columns.push(Column::AcksAtMostOne);
            }
        }
        if self.isolation == Isolation::ReadUncommitted {
            columns.push(Column::ReadUncommitted);
        }
        if self.unclean_election {
            columns.push(Column::UncleanElection);
        }
        columns
    }

    fn holds(&self, cell: Cell) -> bool {
        let idempotent = self.sending.is_none_or(|sending| sending.idempotent);
        let overtakes = self
            .sending
            .is_some_and(|sending| sending.retries && sending.in_flight_max > 1);
        match cell {
            Cell::Violation => true,
            Cell::Permitted => false,
            // A column that cannot say anything leaves the word to the others.
            Cell::NotApplicable => true,
            Cell::UnlessRebalanced => !self.is_rebalanced,
            Cell::IfAssigned => !self.is_subscribed,
            Cell::IfIdempotent => idempotent,
            Cell::UnlessReordered => !overtakes,
            Cell::InPipeline => self.is_pipeline,
        }
    }

    /// One replica and a loss of power: class *flushed* with acks=all keeps everything; what was acknowledged at
    /// acks<=1 may be gone, and its offsets given again. Class *replicated* excuses single offsets, not anomalies.
    ///
    /// The order of one process's sends (H14, H15) is a special case of H26 and is excused with it.
    fn is_excused_by_power(&self, anomaly: CheckerId) -> bool {
        use CheckerId::{H3, H14, H15, H16, H26};
        let weak = self.sending.is_some_and(|sending| {
            sending.acks != Acks::All && sending.class == Durability::Flushed
        });
        self.lost_power && weak && matches!(anomaly, H3 | H14 | H15 | H16 | H26)
    }
}
