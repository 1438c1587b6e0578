//! Where leader epochs end (KIP-320).

use protocol::messages::offset_for_leader_epoch_request::{
    OffsetForLeaderPartition, OffsetForLeaderTopic,
};
use protocol::messages::{OffsetForLeaderEpochRequest, OffsetForLeaderEpochResponse};
use types::{LeaderEpoch, Offset};

use crate::client::{Client, Lane};
use crate::error::Error;
use crate::offsets::NamedPartition;

impl Client {
    /// Asks the partition's leader where an epoch ends, trying again while that may help: the largest epoch not above
    /// the one asked, and the offset behind its last record. Nothing if the leader knows of none.
    ///
    /// # Errors
    /// The last that no attempt cured.
    pub async fn epoch_end(
        &self,
        partition: &NamedPartition,
        epoch: LeaderEpoch,
    ) -> Result<Option<(LeaderEpoch, Offset)>, Error> {
        self.retry(async || self.epoch_end_once(partition, epoch).await)
            .await
    }

    async fn epoch_end_once(
        &self,
        (topic, partition): &NamedPartition,
        epoch: LeaderEpoch,
    ) -> Result<Option<(LeaderEpoch, Offset)>, Error> {
        let leader = self.leader(topic, *partition).await?;
        let asked = OffsetForLeaderPartition {
            partition: *partition,
            current_leader_epoch: leader.epoch,
            leader_epoch: epoch,
            ..OffsetForLeaderPartition::default()
        };
        let request = OffsetForLeaderEpochRequest {
            replica_id: -1,
            topics: vec![OffsetForLeaderTopic {
                topic: topic.clone(),
                partitions: vec![asked],
                ..OffsetForLeaderTopic::default()
            }],
            ..OffsetForLeaderEpochRequest::default()
        };
        let connection = self.connection(leader.node, Lane::General).await?;
        let response: OffsetForLeaderEpochResponse = connection.send(&request).await?;
        let answer = response
            .topics
            .first()
            .and_then(|topic| topic.partitions.first());
        let answer = answer.ok_or(Error::Incomplete("an epoch's end"))?;
        Error::check(answer.error_code)?;
        Ok((answer.leader_epoch >= 0).then_some((answer.leader_epoch, answer.end_offset)))
    }
}
