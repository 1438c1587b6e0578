//! What a node must never forget: epoch, leader, vote. Kafka's `quorum-state` file.

use thiserror::Error;
use types::{LeaderEpoch, NodeId, Uuid};

use crate::VoterKey;
use crate::json::{Value, parse_object};

/// The durable election state of a node.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct QuorumState {
    /// The newest epoch this node knows; 0 before the first election.
    pub leader_epoch: LeaderEpoch,
    /// The leader of that epoch, if known. Once it is known no vote of this epoch is given, so that none need be kept.
    pub leader: Option<NodeId>,
    /// Whom this node voted for in that epoch, while its leader is not known.
    pub voted: Option<VoterKey>,
}

/// Why a `quorum-state` file cannot be read.
#[derive(Clone, PartialEq, Eq, Debug, Error)]
pub enum QuorumStateError {
    /// It is not a flat JSON object.
    #[error("quorum-state is not JSON from byte {0} on")]
    Json(usize),
    /// A field is missing, of the wrong type or out of range.
    #[error("quorum-state: the field {0} is missing or wrong")]
    Field(&'static str),
    /// A version this code does not know.
    #[error("quorum-state: version {0} is not known")]
    Version(i64),
    /// A field that no version has.
    #[error("quorum-state: the field {0:?} is not known")]
    UnknownField(String),
}

impl QuorumState {
    /// No election was ever seen.
    pub const INITIAL: QuorumState = QuorumState {
        leader_epoch: 0,
        leader: None,
        voted: None,
    };

    /// The file's content, at version 1 (`kraft.version` 1), as Kafka writes it.
    pub fn encode(&self) -> String {
        let (voted_id, voted_directory_id) = match self.voted {
            Some(VoterKey { id, directory_id }) => (id, directory_id),
            None => (-1, Uuid::ZERO),
        };
        format!(
            "{{\"leaderId\":{},\"leaderEpoch\":{},\"votedId\":{voted_id},\
             \"votedDirectoryId\":\"{voted_directory_id}\",\"data_version\":1}}",
            self.leader.unwrap_or(-1),
            self.leader_epoch,
        )
    }

    /// Reads the file's content, at version 1 or 0 (a static quorum's, which knows no directories).
    pub fn decode(content: &[u8]) -> Result<QuorumState, QuorumStateError> {
        let text = std::str::from_utf8(content)
            .map_err(|error| QuorumStateError::Json(error.valid_up_to()))?;
        let fields = parse_object(text).map_err(QuorumStateError::Json)?;
        let number = |name: &'static str| match fields.get(name) {
            Some(Value::Number(number)) => Ok(*number),
            _ => Err(QuorumStateError::Field(name)),
        };
        let id = |name| match number(name)? {
            -1 => Ok(None),
            id => NodeId::try_from(id)
                .ok()
                .filter(|&id| id >= 0)
                .map(Some)
                .ok_or(QuorumStateError::Field(name)),
        };
        let version = number("data_version")?;
        let known: &[&str] = match version {
            0 => &["clusterId", "appliedOffset", "currentVoters"],
            1 => &["votedDirectoryId"],
            version => return Err(QuorumStateError::Version(version)),
        };
        const ALWAYS: [&str; 4] = ["leaderId", "leaderEpoch", "votedId", "data_version"];
        let stranger = fields
            .keys()
            .find(|name| !known.contains(&name.as_str()) && !ALWAYS.contains(&name.as_str()));
        if let Some(name) = stranger {
            return Err(QuorumStateError::UnknownField(name.clone()));
        }
        let directory_id = match (version, fields.get("votedDirectoryId")) {
            (0, _) => Uuid::ZERO,
            (_, Some(Value::Text(text))) => text
                .parse()
                .map_err(|_| QuorumStateError::Field("votedDirectoryId"))?,
            _ => return Err(QuorumStateError::Field("votedDirectoryId")),
        };
        let leader_epoch = LeaderEpoch::try_from(number("leaderEpoch")?)
            .ok()
            .filter(|&epoch| epoch >= 0)
            .ok_or(QuorumStateError::Field("leaderEpoch"))?;
        Ok(QuorumState {
            leader_epoch,
            leader: id("leaderId")?,
            voted: id("votedId")?.map(|id| VoterKey { id, directory_id }),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const VOTER: VoterKey = VoterKey {
        id: 3,
        directory_id: Uuid::from_u128(0x10_0000_0000_4001_8000_0000_0000_0001),
    };

    #[test]
    fn a_leaders_file_is_byte_for_byte_kafkas() {
        // Written by Kafka 4.3.1, node 1, first start.
        let kafka = "{\"leaderId\":1,\"leaderEpoch\":1,\"votedId\":-1,\
                     \"votedDirectoryId\":\"AAAAAAAAAAAAAAAAAAAAAA\",\"data_version\":1}";
        let state = QuorumState {
            leader_epoch: 1,
            leader: Some(1),
            voted: None,
        };
        assert_eq!(state.encode(), kafka);
        assert_eq!(QuorumState::decode(kafka.as_bytes()), Ok(state));
    }

    #[test]
    fn states_survive_their_file() {
        for state in [
            QuorumState::INITIAL,
            QuorumState {
                leader_epoch: 7,
                leader: None,
                voted: Some(VOTER),
            },
            QuorumState {
                leader_epoch: i32::MAX,
                leader: Some(0),
                voted: Some(VOTER),
            },
        ] {
            assert_eq!(QuorumState::decode(state.encode().as_bytes()), Ok(state));
        }
    }

    #[test]
    fn a_static_quorums_file_is_read() {
        let text = r#"{"clusterId":"","leaderId":-1,"leaderEpoch":3,"votedId":2,"appliedOffset":0,
            "currentVoters":[{"voterId":1},{"voterId":2}],"data_version":0}"#;
        let voted = Some(VoterKey {
            id: 2,
            directory_id: Uuid::ZERO,
        });
        let state = QuorumState {
            leader_epoch: 3,
            leader: None,
            voted,
        };
        assert_eq!(QuorumState::decode(text.as_bytes()), Ok(state));
    }

    #[test]
    fn a_bad_file_names_what_is_wrong() {
        let good = QuorumState {
            leader_epoch: 7,
            leader: None,
            voted: Some(VOTER),
        }
        .encode();
        use QuorumStateError::{Field, Json, UnknownField, Version};
        let deep = format!("{{\"a\":{}", "[".repeat(100_000));
        let table = [
            (String::new(), Json(0)),
            ("{}".into(), Field("data_version")),
            (
                good.replace("\"data_version\":1", "\"data_version\":2"),
                Version(2),
            ),
            (good.replace(":7", ":-7"), Field("leaderEpoch")),
            (good.replace(":7", ":7000000000"), Field("leaderEpoch")),
            (good.replace(":7", ":\"7\""), Field("leaderEpoch")),
            (
                good.replace("\"votedId\":3", "\"votedId\":-2"),
                Field("votedId"),
            ),
            (good.replace("AAAA", "?"), Field("votedDirectoryId")),
            (
                good.replace("leaderId", "leaderID"),
                UnknownField("leaderID".into()),
            ),
            (format!("{good}x"), Json(good.len())),
            (good.replace("\"votedId\":3", "\"leaderId\":3"), Json(31)),
            (deep, Json(13)),
        ];
        for (text, error) in table {
            assert_eq!(
                QuorumState::decode(text.as_bytes()),
                Err(error),
                "{text:.200}"
            );
        }
        assert_eq!(QuorumState::decode(b"{\xff"), Err(Json(1)));
    }

    #[test]
    fn every_shorter_file_is_refused() {
        let good = QuorumState {
            leader_epoch: 7,
            leader: None,
            voted: Some(VOTER),
        }
        .encode();
        for length in 0..good.len() {
            assert!(
                QuorumState::decode(&good.as_bytes()[..length]).is_err(),
                "{length}"
            );
        }
    }
}
