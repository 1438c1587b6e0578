//! The control records of the metadata log and its snapshots, in Kafka's formats.

use bytes::Bytes;
use protocol::records::{ControlRecordType, ParsedControlType};
use protocol::stored::kraft_version_record::KRaftVersionRecord;
use protocol::stored::leader_change_message::{self, LeaderChangeMessage};
use protocol::stored::snapshot_footer_record::SnapshotFooterRecord;
use protocol::stored::snapshot_header_record::SnapshotHeaderRecord;
use protocol::stored::voters_record::{self, KRaftVersionFeature, VotersRecord};
use protocol::wire::{DecodeError, Decoder, Message, encode_to_bytes};
use thiserror::Error;
use types::NodeId;

use crate::{Endpoint, Voter, VoterKey, VoterSet};

/// The version at which Kafka 4.3 writes each control record, and the number it puts into them.
const VERSION: i16 = 0;

/// The first record of every epoch: who leads, who voted.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct LeaderChange {
    /// The leader.
    pub leader_id: NodeId,
    /// The voters in force.
    pub voters: Vec<NodeId>,
    /// Those that voted for it.
    pub granting_voters: Vec<NodeId>,
}

/// A control record.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum ControlRecord {
    /// An epoch begins.
    LeaderChange(LeaderChange),
    /// A snapshot begins.
    SnapshotHeader {
        /// Timestamp of the last record that it contains, in milliseconds; the time of formatting in the bootstrap snapshot.
        last_contained_log_timestamp: i64,
    },
    /// A snapshot ends: one without it is not whole.
    SnapshotFooter,
    /// The quorum's version, 1 where voters are kept in the log.
    KRaftVersion(i16),
    /// The voters in force from this record on.
    Voters(VoterSet),
}

/// Why a control record cannot be read.
#[derive(Clone, PartialEq, Eq, Debug, Error)]
pub enum ControlRecordError {
    /// It has no key or no value.
    #[error("a control record without key or value")]
    Incomplete,
    /// The key is not that of a control record.
    #[error("a control record's key is malformed")]
    Key,
    /// A type that does not belong into the metadata log.
    #[error("a control record of type {0} does not belong into the metadata log")]
    Type(i16),
    /// The value is not what the key says.
    #[error("a control record's value is malformed: {0}")]
    Value(String),
}

impl From<DecodeError> for ControlRecordError {
    fn from(error: DecodeError) -> ControlRecordError {
        ControlRecordError::Value(error.to_string())
    }
}

impl ControlRecord {
    /// The record's type: its key.
    pub fn kind(&self) -> ControlRecordType {
        match self {
            ControlRecord::LeaderChange(_) => ControlRecordType::LeaderChange,
            ControlRecord::SnapshotHeader { .. } => ControlRecordType::SnapshotHeader,
            ControlRecord::SnapshotFooter => ControlRecordType::SnapshotFooter,
            ControlRecord::KRaftVersion(_) => ControlRecordType::KRaftVersion,
            ControlRecord::Voters(_) => ControlRecordType::KRaftVoters,
        }
    }

    /// The record's value.
    ///
    /// # Panics
    /// If a name is longer than a protocol string may be: endpoints are checked where they are configured.
    pub fn value(&self) -> Bytes {
        let encoded = match self {
            ControlRecord::LeaderChange(change) => {
                encode_to_bytes(&leader_change_message(change), VERSION)
            }
            &ControlRecord::SnapshotHeader {
                last_contained_log_timestamp,
            } => {
                let header = SnapshotHeaderRecord {
                    version: VERSION,
                    last_contained_log_timestamp,
                    ..SnapshotHeaderRecord::default()
                };
                encode_to_bytes(&header, VERSION)
            }
            ControlRecord::SnapshotFooter => {
                let footer = SnapshotFooterRecord {
                    version: VERSION,
                    ..SnapshotFooterRecord::default()
                };
                encode_to_bytes(&footer, VERSION)
            }
            &ControlRecord::KRaftVersion(kraft_version) => {
                let record = KRaftVersionRecord {
                    version: VERSION,
                    kraft_version,
                    ..KRaftVersionRecord::default()
                };
                encode_to_bytes(&record, VERSION)
            }
            ControlRecord::Voters(voters) => encode_to_bytes(&voters_record(voters), VERSION),
        };
        encoded.expect("a control record has only fields of its version")
    }

    /// Reads a record of a control batch. `None` if it is of a type that does not exist yet, which is skipped as Kafka does.
    ///
    /// # Errors
    /// [`ControlRecordError`] says what is wrong with it.
    pub fn decode(
        key: Option<&[u8]>,
        value: Option<Bytes>,
    ) -> Result<Option<ControlRecord>, ControlRecordError> {
        let (Some(key), Some(value)) = (key, value) else {
            return Err(ControlRecordError::Incomplete);
        };
        let parsed = ControlRecordType::parse_key(key).map_err(|_| ControlRecordError::Key)?;
        let ParsedControlType::Known(kind) = parsed else {
            return Ok(None);
        };
        Ok(Some(match kind {
            ControlRecordType::LeaderChange => {
                ControlRecord::LeaderChange(leader_change(read(value)?))
            }
            ControlRecordType::SnapshotHeader => {
                let header: SnapshotHeaderRecord = read(value)?;
                let last_contained_log_timestamp = header.last_contained_log_timestamp;
                ControlRecord::SnapshotHeader {
                    last_contained_log_timestamp,
                }
            }
            ControlRecordType::SnapshotFooter => {
                read::<SnapshotFooterRecord>(value)?;
                ControlRecord::SnapshotFooter
            }
            ControlRecordType::KRaftVersion => {
                ControlRecord::KRaftVersion(read::<KRaftVersionRecord>(value)?.kraft_version)
            }
            ControlRecordType::KRaftVoters => ControlRecord::Voters(voter_set(read(value)?)),
            ControlRecordType::Abort | ControlRecordType::Commit => {
                return Err(ControlRecordError::Type(kind.code()));
            }
        }))
    }
}

/// The records that a snapshot begins with, before those of the image. [`ControlRecord::SnapshotFooter`] ends it.
pub fn snapshot_header(
    last_contained_log_timestamp: i64,
    kraft_version: i16,
    voters: &VoterSet,
) -> Vec<ControlRecord> {
    let header = ControlRecord::SnapshotHeader {
        last_contained_log_timestamp,
    };
    if kraft_version == 0 {
        return vec![header];
    }
    vec![
        header,
        ControlRecord::KRaftVersion(kraft_version),
        ControlRecord::Voters(voters.clone()),
    ]
}

/// The value begins with the version it was written at. What a later version adds is at its end.
fn read<M: Message>(value: Bytes) -> Result<M, DecodeError> {
    let written = Decoder::new(value.clone()).int16()?;
    M::decode(&mut Decoder::new(value), written.min(*M::VERSIONS.end()))
}

fn leader_change_message(change: &LeaderChange) -> LeaderChangeMessage {
    let voter = |&voter_id: &NodeId| leader_change_message::Voter {
        voter_id,
        ..leader_change_message::Voter::default()
    };
    LeaderChangeMessage {
        version: VERSION,
        leader_id: change.leader_id,
        voters: change.voters.iter().map(voter).collect(),
        granting_voters: change.granting_voters.iter().map(voter).collect(),
        ..LeaderChangeMessage::default()
    }
}

fn leader_change(message: LeaderChangeMessage) -> LeaderChange {
    LeaderChange {
        leader_id: message.leader_id,
        voters: message.voters.iter().map(|voter| voter.voter_id).collect(),
        granting_voters: message
            .granting_voters
            .iter()
            .map(|voter| voter.voter_id)
            .collect(),
    }
}

fn voters_record(voters: &VoterSet) -> VotersRecord {
    let endpoint = |endpoint: &Endpoint| voters_record::Endpoint {
        name: endpoint.name.clone(),
        host: endpoint.host.clone(),
        port: endpoint.port,
        ..voters_record::Endpoint::default()
    };
    let voter = |voter: &Voter| voters_record::Voter {
        voter_id: voter.key.id,
        voter_directory_id: voter.key.directory_id,
        endpoints: voter.endpoints.iter().map(endpoint).collect(),
        kraft_version_feature: KRaftVersionFeature {
            min_supported_version: voter.kraft_versions.0,
            max_supported_version: voter.kraft_versions.1,
            ..KRaftVersionFeature::default()
        },
        ..voters_record::Voter::default()
    };
    VotersRecord {
        version: VERSION,
        voters: voters.iter().map(voter).collect(),
        ..VotersRecord::default()
    }
}

fn voter_set(record: VotersRecord) -> VoterSet {
    let endpoint = |endpoint: voters_record::Endpoint| Endpoint {
        name: endpoint.name,
        host: endpoint.host,
        port: endpoint.port,
    };
    let voter = |voter: voters_record::Voter| Voter {
        key: VoterKey {
            id: voter.voter_id,
            directory_id: voter.voter_directory_id,
        },
        endpoints: voter.endpoints.into_iter().map(endpoint).collect(),
        kraft_versions: (
            voter.kraft_version_feature.min_supported_version,
            voter.kraft_version_feature.max_supported_version,
        ),
    };
    VoterSet::new(record.voters.into_iter().map(voter))
}

#[cfg(test)]
mod tests {
    use protocol::records::{BatchBuilder, batches};
    use types::Uuid;

    use super::*;

    /// The first batch of the metadata log of a Kafka 4.3.1 node, and its bootstrap snapshot, whole.
    const KAFKA_LOG: &str = "\
        0000000000000000000000a200000001023ce9661b002000000002000001a1fd9a993e000001a1fd9a993e\
        ffffffffffffffffffffffffffff000000033a00000008000000022600000000000102000000010002000000\
        010000001e00000208000000050a000000010000820100000408000000066e0000020000000182bab50e5a55\
        435092ce4d0b6cf3a107020b434f4e54524f4c4c45520a3132372e302e302e319b71000000000100000000";
    const KAFKA_SNAPSHOT: &str = "\
        00000000000000000000009a000000000298e8a802002000000002000001a1fd9a90b9000001a1fd9a90b9ff\
        ffffffffffffffffffffffffff000000032a0000000800000003160000000001a1fd9a90af00001e00000208\
        000000050a000000010000820100000408000000066e0000020000000182bab50e5a55435092ce4d0b6cf3a1\
        07020b434f4e54524f4c4c45520a3132372e302e302e319b7100000000010000000000000000000000030000\
        003f00000000028fa65dd9002000000000000001a1fd9a90c1000001a1fd9a90c1ffffffffffffffffffffff\
        ffffff000000011a00000008000000040600000000";

    fn bytes(hex: &str) -> Bytes {
        let digit = |at: usize| u8::from_str_radix(&hex[at..at + 2], 16).expect("hex");
        (0..hex.len())
            .step_by(2)
            .map(digit)
            .collect::<Vec<u8>>()
            .into()
    }

    fn read_all(file: &Bytes) -> Vec<ControlRecord> {
        let mut found = Vec::new();
        for batch in batches(file.clone()) {
            let batch = batch.expect("Kafka's batch");
            batch.verify_crc().expect("Kafka's checksum");
            for record in batch.records() {
                let record = record.expect("Kafka's record");
                let control = ControlRecord::decode(record.key.as_deref(), record.value);
                found.push(
                    control
                        .expect("Kafka's control record")
                        .expect("a known type"),
                );
            }
        }
        found
    }

    fn voters() -> VoterSet {
        let directory_id = "grq1DlpVQ1CSzk0LbPOhBw".parse::<Uuid>().expect("an id");
        VoterSet::new([Voter {
            key: VoterKey {
                id: 1,
                directory_id,
            },
            endpoints: vec![Endpoint {
                name: "CONTROLLER".into(),
                host: "127.0.0.1".into(),
                port: 39793,
            }],
            kraft_versions: (0, 1),
        }])
    }

    #[test]
    fn an_epoch_begins_as_kafka_begins_it() {
        let file = bytes(KAFKA_LOG);
        let change = LeaderChange {
            leader_id: 1,
            voters: vec![1],
            granting_voters: vec![1],
        };
        let ours = vec![
            ControlRecord::LeaderChange(change),
            ControlRecord::KRaftVersion(1),
            ControlRecord::Voters(voters()),
        ];
        assert_eq!(read_all(&file), ours);
        let mut builder = BatchBuilder::new(0).control().leader_epoch(1);
        for record in &ours {
            builder.append_control(1_795_256_129_854, record.kind(), &record.value());
        }
        assert_eq!(builder.build().into_bytes(), file, "byte for byte");
    }

    #[test]
    fn a_bootstrap_snapshot_is_kafkas() {
        let file = bytes(KAFKA_SNAPSHOT);
        let header_time = 1_795_256_127_663;
        let mut ours = snapshot_header(header_time, 1, &voters());
        ours.push(ControlRecord::SnapshotFooter);
        assert_eq!(read_all(&file), ours);
        let mut head = BatchBuilder::new(0).control().leader_epoch(0);
        for record in &ours[..3] {
            head.append_control(1_795_256_127_673, record.kind(), &record.value());
        }
        let mut foot = BatchBuilder::new(3).control().leader_epoch(0);
        foot.append_control(1_795_256_127_681, ours[3].kind(), &ours[3].value());
        let written = [head.build().into_bytes(), foot.build().into_bytes()].concat();
        assert_eq!(written, file, "byte for byte");
    }

    #[test]
    fn bad_control_records_are_refused() {
        let key = ControlRecordType::KRaftVoters.key();
        let value = ControlRecord::Voters(voters()).value();
        let decode = |key: &[u8], value: &[u8]| {
            ControlRecord::decode(Some(key), Some(Bytes::copy_from_slice(value)))
        };
        assert_eq!(
            ControlRecord::decode(None, Some(value.clone())),
            Err(ControlRecordError::Incomplete)
        );
        assert_eq!(
            ControlRecord::decode(Some(&key), None),
            Err(ControlRecordError::Incomplete)
        );
        assert_eq!(decode(&key[..3], &value), Err(ControlRecordError::Key));
        assert_eq!(decode(&[0, 0, 0, 99], &value), Ok(None));
        assert_eq!(
            decode(&[0, 0, 0, 1], &value),
            Err(ControlRecordError::Type(1))
        );
        for length in 0..value.len() {
            let result = decode(&key, &value[..length]);
            assert!(
                matches!(result, Err(ControlRecordError::Value(_))),
                "{length} bytes"
            );
        }
    }
}
