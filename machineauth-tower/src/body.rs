//! Bodies that answers of this crate can be put into.

use bytes::Bytes;
use http::Response;
use http_body_util::combinators::{BoxBody, UnsyncBoxBody};
use http_body_util::{BodyExt as _, Full};
use machineauth_core::Challenge;

/// A response body that can be made from bytes, so that a layer can answer in the place of the service below it.
///
/// Implemented for the bodies of axum and, with the feature `tonic`, of tonic, for those of `http-body-util`, and for
/// plain bytes. Implement it for a body type of your own.
pub trait AnswerBody {
    /// A body with these bytes in it.
    fn answer(bytes: Bytes) -> Self;
}

impl AnswerBody for Bytes {
    fn answer(bytes: Bytes) -> Self {
        bytes
    }
}

impl AnswerBody for Vec<u8> {
    fn answer(bytes: Bytes) -> Self {
        bytes.into()
    }
}

impl AnswerBody for Full<Bytes> {
    fn answer(bytes: Bytes) -> Self {
        Self::new(bytes)
    }
}

impl<E: 'static> AnswerBody for BoxBody<Bytes, E> {
    fn answer(bytes: Bytes) -> Self {
        Self::new(Full::new(bytes).map_err(|never| match never {}))
    }
}

impl<E: 'static> AnswerBody for UnsyncBoxBody<Bytes, E> {
    fn answer(bytes: Bytes) -> Self {
        Self::new(Full::new(bytes).map_err(|never| match never {}))
    }
}

/// The answer to a request that is refused.
pub(crate) fn answer<B: AnswerBody>(challenge: &Challenge) -> Response<B> {
    challenge.to_response::<Bytes>().map(B::answer)
}

#[cfg(feature = "axum")]
impl AnswerBody for axum_core::body::Body {
    fn answer(bytes: Bytes) -> Self {
        bytes.into()
    }
}

#[cfg(feature = "tonic")]
impl AnswerBody for tonic::body::Body {
    fn answer(bytes: Bytes) -> Self {
        Self::new(Full::new(bytes))
    }
}
