//! InitProducerId (22): a new identity for an idempotent producer (KIP-98, KIP-360).
//!
//! Versions 0 to 5; 6 is unstable in Kafka 4.3. A transactional id is refused with an error at which clients stop.

use std::ops::RangeInclusive;
use std::rc::Rc;

use protocol::messages::{InitProducerIdRequest, InitProducerIdResponse};
use types::ErrorCode;

use crate::server::authorizer::{Operation, Resource};
use crate::server::context::RequestContext;
use crate::server::response::{Outcome, reply};

/// Versions that are served.
pub const VERSIONS: RangeInclusive<i16> = 0..=5;

/// Answers with an id that nobody else has, at epoch 0.
pub async fn handle(
    context: Rc<RequestContext>,
    request: InitProducerIdRequest,
) -> Outcome<InitProducerIdResponse> {
    let refused = |code: ErrorCode| InitProducerIdResponse {
        error_code: code.code(),
        producer_id: -1,
        producer_epoch: -1,
        ..Default::default()
    };
    if request.transactional_id.is_some() {
        // Transactions are not served yet. This code is fatal to the Java client and to librdkafka.
        return reply(refused(ErrorCode::TransactionalIdAuthorizationFailed));
    }
    // A producer that may write to any topic may be idempotent (KIP-679).
    let allowed = context.authorize(Operation::IdempotentWrite, Resource::Cluster)
        || context
            .image
            .topics
            .iter()
            .any(|topic| context.authorize(Operation::Write, Resource::Topic(&topic.name)));
    if !allowed {
        return reply(refused(ErrorCode::ClusterAuthorizationFailed));
    }
    let has_id = request.producer_id != -1;
    if has_id != (request.producer_epoch != -1) {
        return reply(refused(ErrorCode::InvalidRequest));
    }
    reply(match context.core.node.next_producer_id().await {
        Err(code) => refused(code),
        Ok(producer_id) => {
            if let Some(observer) = context.core.node.observer() {
                observer.producer_id_given(producer_id, 0);
            }
            InitProducerIdResponse {
                producer_id,
                producer_epoch: 0,
                ..Default::default()
            }
        }
    })
}
