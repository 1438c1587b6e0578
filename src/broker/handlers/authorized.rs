//! Which operations a principal may do, as the bit field of KIP-430.

use crate::server::authorizer::{Operation, Resource};
use crate::server::context::RequestContext;

/// The numbers of Kafka's ACL operations: bit n stands for operation n.
const BITS: [(Operation, u32); 10] = [
    (Operation::Read, 3),
    (Operation::Write, 4),
    (Operation::Create, 5),
    (Operation::Delete, 6),
    (Operation::Alter, 7),
    (Operation::Describe, 8),
    (Operation::ClusterAction, 9),
    (Operation::DescribeConfigs, 10),
    (Operation::AlterConfigs, 11),
    (Operation::IdempotentWrite, 12),
];

fn bits(context: &RequestContext, resource: Resource<'_>, valid: &[Operation]) -> i32 {
    let allowed = BITS.iter().filter(|(operation, _)| {
        valid.contains(operation) && context.authorize(*operation, resource)
    });
    allowed.fold(0, |field, (_, bit)| field | (1 << bit))
}

/// On the cluster.
pub fn cluster(context: &RequestContext) -> i32 {
    use Operation::*;
    let valid = [
        Create,
        ClusterAction,
        DescribeConfigs,
        AlterConfigs,
        IdempotentWrite,
        Alter,
        Describe,
    ];
    bits(context, Resource::Cluster, &valid)
}

/// On a topic.
pub fn topic(context: &RequestContext, name: &str) -> i32 {
    use Operation::*;
    let valid = [
        Read,
        Write,
        Create,
        Describe,
        Delete,
        Alter,
        DescribeConfigs,
        AlterConfigs,
    ];
    bits(context, Resource::Topic(name), &valid)
}

/// On a group.
pub fn group(context: &RequestContext, group: &str) -> i32 {
    use Operation::*;
    bits(
        context,
        Resource::Group(group),
        &[Read, Describe, Delete, DescribeConfigs, AlterConfigs],
    )
}
