//! What stands around requests and responses on a connection: a length of 32 bits, a header, the body.
//!
//! A request header is of version 1, or of version 2 (with tagged fields) if the API's request is flexible at
//! that version; a response header of version 0 or 1 likewise. ApiVersions answers always with version 0, since a
//! client reads that answer before it knows what the broker speaks (KIP-511).

#[cfg(test)]
mod tests;

use bytes::Bytes;

use crate::messages::{RequestHeader as WireHeader, ResponseHeader};
use crate::wire::{
    Chunk, DecodeError, Decoder, EncodeError, Encoder, Message, UnknownTaggedFields,
};
use crate::{ApiKey, Request};

/// What a request says before its body.
#[derive(Clone, Debug, PartialEq, Default)]
pub struct RequestHeader {
    /// The API's key, known or not: see [`ApiKey::from_code`].
    pub api_key: i16,
    /// The version that the body has, whether we know it or not.
    pub api_version: i16,
    /// The response carries the same.
    pub correlation_id: i32,
    /// The client's name for itself.
    pub client_id: Option<String>,
    /// Tagged fields of the header; none are defined yet.
    pub unknown_tagged_fields: UnknownTaggedFields,
}

/// Version of the request header before this body. An API that we do not know is taken as not flexible:
/// what follows can only be answered by an error anyway.
pub fn request_header_version(api_key: i16, api_version: i16) -> i16 {
    let flexible_from = ApiKey::from_code(api_key).and_then(ApiKey::request_flexible_from);
    if flexible_from.is_some_and(|from| api_version >= from) {
        2
    } else {
        1
    }
}

/// Version of the response header before this body.
pub fn response_header_version(api: ApiKey, api_version: i16) -> i16 {
    let is_flexible = api
        .response_flexible_from()
        .is_some_and(|from| api_version >= from);
    i16::from(is_flexible && api != ApiKey::ApiVersions)
}

impl RequestHeader {
    /// Reads the header; the body is what remains in the decoder.
    ///
    /// # Errors
    /// The bytes are no header. Unknown keys and versions are not errors here.
    pub fn decode(decoder: &mut Decoder) -> Result<RequestHeader, DecodeError> {
        // The version of the header depends on what stands first in it.
        let mut ahead = decoder.clone();
        let version = request_header_version(ahead.int16()?, ahead.int16()?);
        let header = WireHeader::decode(decoder, version)?;
        Ok(RequestHeader {
            api_key: header.request_api_key,
            api_version: header.request_api_version,
            correlation_id: header.correlation_id,
            client_id: header.client_id,
            unknown_tagged_fields: header.unknown_tagged_fields,
        })
    }

    /// Writes the header.
    ///
    /// # Errors
    /// As [`Message::encode`].
    pub fn encode(&self, encoder: &mut Encoder) -> Result<(), EncodeError> {
        let header = WireHeader {
            request_api_key: self.api_key,
            request_api_version: self.api_version,
            correlation_id: self.correlation_id,
            client_id: self.client_id.clone(),
            unknown_tagged_fields: self.unknown_tagged_fields.clone(),
        };
        header.encode(
            encoder,
            request_header_version(self.api_key, self.api_version),
        )
    }
}

/// A whole request frame, its length included.
///
/// # Errors
/// As [`Message::encode`].
pub fn encode_request<R: Request>(
    request: &R,
    api_version: i16,
    correlation_id: i32,
    client_id: Option<&str>,
) -> Result<Vec<Chunk>, EncodeError> {
    let header = RequestHeader {
        api_key: R::KEY.code(),
        api_version,
        correlation_id,
        client_id: client_id.map(str::to_owned),
        unknown_tagged_fields: Vec::new(),
    };
    let mut encoder = Encoder::new();
    encoder.reserve_frame_length();
    header.encode(&mut encoder)?;
    request.encode(&mut encoder, api_version)?;
    encoder.finish_frame()
}

/// A whole response frame, its length included.
///
/// # Errors
/// As [`Message::encode`]; [`EncodeError::Version`] if the message is not an API's.
pub fn encode_response<M: Message>(
    response: &M,
    api_version: i16,
    correlation_id: i32,
) -> Result<Vec<Chunk>, EncodeError> {
    let api = M::API_KEY.ok_or(EncodeError::Version {
        name: M::NAME,
        version: api_version,
    })?;
    let mut encoder = Encoder::with_capacity(128);
    encoder.reserve_frame_length();
    let header = ResponseHeader {
        correlation_id,
        ..ResponseHeader::default()
    };
    header.encode(&mut encoder, response_header_version(api, api_version))?;
    response.encode(&mut encoder, api_version)?;
    encoder.finish_frame()
}

/// Correlation id and body of a response frame (without its length).
///
/// # Errors
/// The bytes are no response of this request, or bytes are left over.
pub fn decode_response<R: Request>(
    frame: Bytes,
    api_version: i16,
) -> Result<(i32, R::Response), DecodeError> {
    let mut decoder = Decoder::new(frame);
    let version = response_header_version(R::KEY, api_version);
    let header = ResponseHeader::decode(&mut decoder, version)?;
    let response = R::Response::decode(&mut decoder, api_version)?;
    decoder.finish()?;
    Ok((header.correlation_id, response))
}
