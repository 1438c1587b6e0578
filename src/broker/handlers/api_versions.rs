//! ApiVersions (18): what this broker speaks. The first request of every client.
//!
//! The response header is always version 0. A version that is not served is answered in version 0 with
//! UNSUPPORTED_VERSION and the list, so that the client can ask again (KIP-511). Feature levels: KIP-584.

use std::ops::RangeInclusive;
use std::rc::Rc;

use controller::features::{finalized_features, supported_features};
use protocol::ApiKey;
use protocol::messages::api_versions_response::{
    ApiVersion, FinalizedFeatureKey, SupportedFeatureKey,
};
use protocol::messages::{ApiVersionsRequest, ApiVersionsResponse};
use types::ErrorCode;

use crate::core::Core;
use crate::server::context::RequestContext;
use crate::server::response::{Frame, NoReply, Outcome, Reply, encode_frame, reply};
use crate::server::router::Routes;

/// Versions that are served.
pub const VERSIONS: RangeInclusive<i16> = 0..=4;

/// Answers with everything that is served.
pub async fn handle(
    context: Rc<RequestContext>,
    request: ApiVersionsRequest,
) -> Outcome<ApiVersionsResponse> {
    if context.version >= 3
        && !(is_software_name(&request.client_software_name)
            && is_software_name(&request.client_software_version))
    {
        let error_code = ErrorCode::InvalidRequest.code();
        return reply(ApiVersionsResponse {
            error_code,
            ..Default::default()
        });
    }
    let mut body = served(&context.core.node.routes, ErrorCode::None);
    // Level 0 as a minimum cannot be read by clients before version 4 (KIP-1022).
    let readable = |min_version: i16| context.version >= 4 || min_version > 0;
    body.supported_features = supported_features()
        .into_iter()
        .filter(|(_, range)| readable(range.min))
        .map(|(name, range)| SupportedFeatureKey {
            name,
            min_version: range.min,
            max_version: range.max,
            ..Default::default()
        })
        .collect();
    body.finalized_features_epoch = context.image.provenance.offset;
    body.finalized_features = finalized_features(&context.image)
        .into_iter()
        .map(|(name, level)| FinalizedFeatureKey {
            name,
            max_version_level: level,
            min_version_level: level,
            ..Default::default()
        })
        .collect();
    reply(body)
}

/// Answers a version that is not served, in version 0.
pub async fn refuse_version(core: Rc<Core>, correlation_id: i32) -> Result<Frame, NoReply> {
    let body = served(&core.node.routes, ErrorCode::UnsupportedVersion);
    encode_frame(
        ApiKey::ApiVersions,
        0,
        correlation_id,
        Reply {
            body,
            ranges: Vec::new(),
        },
    )
    .map_err(|error| NoReply::Close(error.to_string()))
}

fn served(routes: &Routes, error: ErrorCode) -> ApiVersionsResponse {
    let api_keys = routes.iter().map(|route| ApiVersion {
        api_key: route.key.code(),
        min_version: *route.advertised.start(),
        max_version: *route.advertised.end(),
        ..Default::default()
    });
    ApiVersionsResponse {
        error_code: error.code(),
        api_keys: api_keys.collect(),
        ..Default::default()
    }
}

/// Letters, digits, dashes and dots, beginning and ending with a letter or digit (KIP-511).
fn is_software_name(name: &str) -> bool {
    let bytes = name.as_bytes();
    let (Some(first), Some(last)) = (bytes.first(), bytes.last()) else {
        return false;
    };
    let inner = |byte: &u8| byte.is_ascii_alphanumeric() || *byte == b'-' || *byte == b'.';
    first.is_ascii_alphanumeric() && last.is_ascii_alphanumeric() && bytes.iter().all(inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn software_names() {
        for (name, valid) in [
            ("apache-kafka-java", true),
            ("4.3.1", true),
            ("a", true),
            ("", false),
            ("-a", false),
            ("a.", false),
            ("a b", false),
        ] {
            assert_eq!(is_software_name(name), valid, "{name:?}");
        }
    }
}
