//! DescribeLogDirs (35): what lies in the log directories. Versions 1 to 5.

use std::collections::BTreeMap;
use std::ops::RangeInclusive;
use std::rc::Rc;

use protocol::messages::describe_log_dirs_response::{
    DescribeLogDirsPartition, DescribeLogDirsResult, DescribeLogDirsTopic,
};
use protocol::messages::{DescribeLogDirsRequest, DescribeLogDirsResponse};
use types::ErrorCode;

use crate::server::authorizer::{Operation, Resource};
use crate::server::context::RequestContext;
use crate::server::response::{Outcome, reply};
use crate::shard::LogSize;

/// Versions that are served.
pub const VERSIONS: RangeInclusive<i16> = 1..=5;

/// Asks every shard for the sizes of its logs.
pub async fn handle(
    context: Rc<RequestContext>,
    request: DescribeLogDirsRequest,
) -> Outcome<DescribeLogDirsResponse> {
    if !context.authorize(Operation::Describe, Resource::Cluster) {
        let error_code = ErrorCode::ClusterAuthorizationFailed.code();
        return reply(DescribeLogDirsResponse {
            error_code,
            ..Default::default()
        });
    }
    let mut sizes = Vec::new();
    for index in 0..context.core.node.core_count() {
        let ask = |core: &Rc<crate::core::Core>| core.with_shard(|shard| shard.log_sizes());
        sizes.extend(context.core.call(index, ask).await.unwrap_or_default());
    }
    let is_wanted = |size: &LogSize| match &request.topics {
        None => true,
        Some(topics) => topics
            .iter()
            .any(|topic| *topic.topic == *size.topic && topic.partitions.contains(&size.partition)),
    };
    sizes.retain(is_wanted);
    let mut results = Vec::new();
    for directory in &context.core.node.directories {
        results.push(describe(directory, &sizes).await);
    }
    reply(DescribeLogDirsResponse {
        results,
        ..Default::default()
    })
}

async fn describe(directory: &storage::LogDirectory, sizes: &[LogSize]) -> DescribeLogDirsResult {
    let log_dir = absolute(directory);
    if directory.failure().is_some() {
        let error_code = ErrorCode::KafkaStorageError.code();
        return DescribeLogDirsResult {
            error_code,
            log_dir,
            ..Default::default()
        };
    }
    let mut topics = BTreeMap::<&str, Vec<DescribeLogDirsPartition>>::new();
    for size in sizes
        .iter()
        .filter(|size| size.directory == directory.path())
    {
        topics
            .entry(&size.topic)
            .or_default()
            .push(DescribeLogDirsPartition {
                partition_index: size.partition,
                partition_size: i64::try_from(size.size_bytes).unwrap_or(i64::MAX),
                ..Default::default()
            });
    }
    let topics = topics
        .into_iter()
        .map(|(name, partitions)| DescribeLogDirsTopic {
            name: name.to_owned(),
            partitions,
            ..Default::default()
        });
    let free_bytes = directory.free_bytes().await.ok();
    let free_bytes = free_bytes
        .and_then(|bytes| i64::try_from(bytes).ok())
        .unwrap_or(-1);
    DescribeLogDirsResult {
        log_dir,
        topics: topics.collect(),
        total_bytes: free_bytes,
        usable_bytes: free_bytes,
        ..Default::default()
    }
}

fn absolute(directory: &storage::LogDirectory) -> String {
    let path = directory.path();
    std::path::absolute(path)
        .unwrap_or_else(|_| path.to_owned())
        .display()
        .to_string()
}
