//! The independent crate `kafka-protocol` reads what we write and writes what we read.
//!
//! It follows Kafka 4.1, so a message whose schema gained tagged fields since is compared by what it can know:
//! tags that it does not have it keeps as unknown. It is never given bytes that our decoder refused: it believes
//! array lengths and would abort the process.

use std::collections::BTreeMap;
use std::ops::RangeInclusive;

use bytes::{Bytes, BytesMut};
use kafka_protocol::messages as theirs;
use kafka_protocol::protocol::{Decodable, Encodable, Message};
use proptest::prelude::*;
use proptest::test_runner::{Config, RngSeed, TestRunner};

use crate::every::Every;
use crate::golden_tests::{Golden, by_name, golden};
use crate::mutate::{self, Edit};

/// A message as the other crate has it.
struct Other {
    versions: RangeInclusive<i16>,
    /// Decodes and encodes again.
    again: fn(Bytes, i16) -> Result<Bytes, String>,
    encode_default: fn(i16) -> Result<Bytes, String>,
}

fn other<M: Message + Encodable + Decodable + Default>() -> Other {
    fn encode<M: Encodable>(message: &M, version: i16) -> Result<Bytes, String> {
        let mut bytes = BytesMut::new();
        message
            .encode(&mut bytes, version)
            .map_err(|error| error.to_string())?;
        Ok(bytes.freeze())
    }
    Other {
        versions: M::VERSIONS.min..=M::VERSIONS.max,
        again: |mut bytes, version| {
            let message = M::decode(&mut bytes, version).map_err(|error| error.to_string())?;
            encode(&message, version)
        },
        encode_default: |version| encode(&M::default(), version),
    }
}

macro_rules! others {
    ($($name:ident,)*) => {
        fn others() -> BTreeMap<&'static str, Other> {
            BTreeMap::from([$((stringify!($name), other::<theirs::$name>())),*])
        }
    };
}

others! {
        AddOffsetsToTxnRequest,
        AddOffsetsToTxnResponse,
        AddPartitionsToTxnRequest,
        AddPartitionsToTxnResponse,
        AddRaftVoterRequest,
        AddRaftVoterResponse,
        AllocateProducerIdsRequest,
        AllocateProducerIdsResponse,
        AlterClientQuotasRequest,
        AlterClientQuotasResponse,
        AlterConfigsRequest,
        AlterConfigsResponse,
        AlterPartitionReassignmentsRequest,
        AlterPartitionReassignmentsResponse,
        AlterPartitionRequest,
        AlterPartitionResponse,
        AlterReplicaLogDirsRequest,
        AlterReplicaLogDirsResponse,
        AlterShareGroupOffsetsRequest,
        AlterShareGroupOffsetsResponse,
        AlterUserScramCredentialsRequest,
        AlterUserScramCredentialsResponse,
        ApiVersionsRequest,
        ApiVersionsResponse,
        AssignReplicasToDirsRequest,
        AssignReplicasToDirsResponse,
        BeginQuorumEpochRequest,
        BeginQuorumEpochResponse,
        BrokerHeartbeatRequest,
        BrokerHeartbeatResponse,
        BrokerRegistrationRequest,
        BrokerRegistrationResponse,
        ConsumerGroupDescribeRequest,
        ConsumerGroupDescribeResponse,
        ConsumerGroupHeartbeatRequest,
        ConsumerGroupHeartbeatResponse,
        ConsumerProtocolAssignment,
        ConsumerProtocolSubscription,
        ControllerRegistrationRequest,
        ControllerRegistrationResponse,
        CreateAclsRequest,
        CreateAclsResponse,
        CreateDelegationTokenRequest,
        CreateDelegationTokenResponse,
        CreatePartitionsRequest,
        CreatePartitionsResponse,
        CreateTopicsRequest,
        CreateTopicsResponse,
        DefaultPrincipalData,
        DeleteAclsRequest,
        DeleteAclsResponse,
        DeleteGroupsRequest,
        DeleteGroupsResponse,
        DeleteRecordsRequest,
        DeleteRecordsResponse,
        DeleteShareGroupOffsetsRequest,
        DeleteShareGroupOffsetsResponse,
        DeleteShareGroupStateRequest,
        DeleteShareGroupStateResponse,
        DeleteTopicsRequest,
        DeleteTopicsResponse,
        DescribeAclsRequest,
        DescribeAclsResponse,
        DescribeClientQuotasRequest,
        DescribeClientQuotasResponse,
        DescribeClusterRequest,
        DescribeClusterResponse,
        DescribeConfigsRequest,
        DescribeConfigsResponse,
        DescribeDelegationTokenRequest,
        DescribeDelegationTokenResponse,
        DescribeGroupsRequest,
        DescribeGroupsResponse,
        DescribeLogDirsRequest,
        DescribeLogDirsResponse,
        DescribeProducersRequest,
        DescribeProducersResponse,
        DescribeQuorumRequest,
        DescribeQuorumResponse,
        DescribeShareGroupOffsetsRequest,
        DescribeShareGroupOffsetsResponse,
        DescribeTopicPartitionsRequest,
        DescribeTopicPartitionsResponse,
        DescribeTransactionsRequest,
        DescribeTransactionsResponse,
        DescribeUserScramCredentialsRequest,
        DescribeUserScramCredentialsResponse,
        ElectLeadersRequest,
        ElectLeadersResponse,
        EndQuorumEpochRequest,
        EndQuorumEpochResponse,
        EndTxnMarker,
        EndTxnRequest,
        EndTxnResponse,
        EnvelopeRequest,
        EnvelopeResponse,
        ExpireDelegationTokenRequest,
        ExpireDelegationTokenResponse,
        FetchRequest,
        FetchResponse,
        FetchSnapshotRequest,
        FetchSnapshotResponse,
        FindCoordinatorRequest,
        FindCoordinatorResponse,
        GetTelemetrySubscriptionsRequest,
        GetTelemetrySubscriptionsResponse,
        HeartbeatRequest,
        HeartbeatResponse,
        IncrementalAlterConfigsRequest,
        IncrementalAlterConfigsResponse,
        InitProducerIdRequest,
        InitProducerIdResponse,
        InitializeShareGroupStateRequest,
        InitializeShareGroupStateResponse,
        JoinGroupRequest,
        JoinGroupResponse,
        KRaftVersionRecord,
        LeaderChangeMessage,
        LeaveGroupRequest,
        LeaveGroupResponse,
        ListConfigResourcesRequest,
        ListConfigResourcesResponse,
        ListGroupsRequest,
        ListGroupsResponse,
        ListOffsetsRequest,
        ListOffsetsResponse,
        ListPartitionReassignmentsRequest,
        ListPartitionReassignmentsResponse,
        ListTransactionsRequest,
        ListTransactionsResponse,
        MetadataRequest,
        MetadataResponse,
        OffsetCommitRequest,
        OffsetCommitResponse,
        OffsetDeleteRequest,
        OffsetDeleteResponse,
        OffsetFetchRequest,
        OffsetFetchResponse,
        OffsetForLeaderEpochRequest,
        OffsetForLeaderEpochResponse,
        ProduceRequest,
        ProduceResponse,
        PushTelemetryRequest,
        PushTelemetryResponse,
        ReadShareGroupStateRequest,
        ReadShareGroupStateResponse,
        ReadShareGroupStateSummaryRequest,
        ReadShareGroupStateSummaryResponse,
        RemoveRaftVoterRequest,
        RemoveRaftVoterResponse,
        RenewDelegationTokenRequest,
        RenewDelegationTokenResponse,
        RequestHeader,
        ResponseHeader,
        SaslAuthenticateRequest,
        SaslAuthenticateResponse,
        SaslHandshakeRequest,
        SaslHandshakeResponse,
        ShareAcknowledgeRequest,
        ShareAcknowledgeResponse,
        ShareFetchRequest,
        ShareFetchResponse,
        ShareGroupDescribeRequest,
        ShareGroupDescribeResponse,
        ShareGroupHeartbeatRequest,
        ShareGroupHeartbeatResponse,
        SnapshotFooterRecord,
        SnapshotHeaderRecord,
        SyncGroupRequest,
        SyncGroupResponse,
        TxnOffsetCommitRequest,
        TxnOffsetCommitResponse,
        UnregisterBrokerRequest,
        UnregisterBrokerResponse,
        UpdateFeaturesRequest,
        UpdateFeaturesResponse,
        UpdateRaftVoterRequest,
        UpdateRaftVoterResponse,
        VoteRequest,
        VoteResponse,
        VotersRecord,
        WriteShareGroupStateRequest,
        WriteShareGroupStateResponse,
        WriteTxnMarkersRequest,
        WriteTxnMarkersResponse,
}

/// Ours decodes and encodes again.
fn ours_again(ours: &Every, bytes: &Bytes, version: i16) -> Result<Bytes, String> {
    let decoded = (ours.decode)(bytes.clone(), version).map_err(|error| error.to_string())?;
    decoded.again.map_err(|error| error.to_string())
}

/// Messages that the other crate cannot write unless they are empty: its `Voter` refuses all versions.
const THEIRS_IS_BROKEN: [&str; 2] = ["LeaderChangeMessage", "VotersRecord"];

/// Golden bytes of versions that both have.
fn common() -> Vec<Golden> {
    let others = others();
    let has = |line: &Golden| {
        let other = others.get(line.name);
        other.is_some_and(|other| other.versions.contains(&line.version))
            && !THEIRS_IS_BROKEN.contains(&line.name)
    };
    golden().filter(has).collect()
}

#[test]
fn defaults_are_the_same_both_ways() {
    let ours = by_name();
    let mut versions = 0;
    for (name, other) in others() {
        let Some(ours) = ours.get(name) else {
            panic!("{name} has no schema")
        };
        for version in other
            .versions
            .filter(|version| ours.versions.contains(version))
        {
            let place = format!("{name} version {version}");
            let theirs = (other.encode_default)(version).expect(&place);
            assert_eq!(
                ours_again(ours, &theirs, version),
                Ok(theirs),
                "theirs to ours: {place}"
            );
            let bytes = (ours.encode_default)(version).expect(&place);
            assert_eq!(
                (other.again)(bytes.clone(), version),
                Ok(bytes),
                "ours to theirs: {place}"
            );
            versions += 1;
        }
    }
    assert!(versions > 500, "only {versions} versions in common");
}

#[test]
fn filled_messages_are_the_same_both_ways() {
    let (ours, others) = (by_name(), others());
    for Golden {
        name,
        version,
        bytes,
        ..
    } in common()
    {
        let place = format!("{name} version {version}: {bytes:?}");
        let theirs = (others[name].again)(bytes, version).expect(&place);
        assert_eq!(
            ours_again(&ours[name], &theirs, version),
            Ok(theirs),
            "{place}"
        );
    }
}

#[test]
fn altered_messages_that_we_accept_are_the_same_to_both() {
    let (ours, others, common) = (by_name(), others(), common());
    let config = Config {
        cases: 60_000,
        rng_seed: RngSeed::Fixed(3),
        failure_persistence: None,
        ..Config::default()
    };
    let input = (
        0..common.len(),
        proptest::collection::vec(any::<Edit>(), 1..4),
    );
    let accepted = std::cell::Cell::new(0);
    let outcome = TestRunner::new(config).run(&input, |(index, edits)| {
        let Golden {
            name,
            version,
            bytes,
            ..
        } = &common[index];
        let altered = mutate::apply(bytes, &edits);
        let Ok(again) = ours_again(&ours[name], &altered, *version) else {
            return Ok(());
        };
        accepted.set(accepted.get() + 1);
        prop_assert_eq!(
            (others[name].again)(again.clone(), *version),
            Ok(again),
            "{} {}",
            name,
            version
        );
        Ok(())
    });
    outcome.unwrap();
    assert!(
        accepted.get() > 10_000,
        "only {} cases say something",
        accepted.get()
    );
}
