//! The document as a whole.

use bytes::Bytes;
use utoipa::openapi::{Components, Info, License, OpenApi, Paths, Server};
use utoipa::{PartialSchema as _, ToSchema as _};

use super::{refusals, security};
use crate::error::ErrorBody;

/// What holds for every operation.
const ABOUT: &str = "\
The OAuth 2.0 token service for machines: client credentials, refresh, introspection, revocation, key sets; and the \
administration of agents and organizations.

Whatever is refused is refused in JSON, with `error`, `error_description` and `message`. Every answer names its request \
in `X-Request-Id`; where requests are limited, `RateLimit` and `RateLimit-Policy` say how many are left. Answers may get \
more members in later versions, and no member is null.

An organization's credentials see that organization and nothing else: for them another tenant's object does not exist.";

/// The description of the whole API, as it is served.
#[derive(Debug, Clone)]
pub struct Document(Bytes);

impl Document {
    /// The document of `description`.
    pub fn new(description: &OpenApi) -> Self {
        Self(
            description
                .to_json()
                .expect("a description is plain data")
                .into(),
        )
    }

    /// The document as JSON.
    pub fn json(&self) -> Bytes {
        self.0.clone()
    }
}

/// What is to be said before anything about a path is.
pub fn beginning() -> OpenApi {
    let mut info = Info::new("machineauth", env!("CARGO_PKG_VERSION"));
    info.description = Some(ABOUT.to_owned());
    let mut license = License::new(env!("CARGO_PKG_LICENSE"));
    license.identifier = Some(env!("CARGO_PKG_LICENSE").to_owned());
    info.license = Some(license);
    let mut components = Components::new();
    let mut schemas = vec![(ErrorBody::name().into_owned(), ErrorBody::schema())];
    ErrorBody::schemas(&mut schemas);
    components.schemas.extend(schemas);
    components.responses = refusals::components();
    components.security_schemes = security::schemes();
    let mut document = OpenApi::new(info, Paths::new());
    document.servers = Some(vec![Server::new("/")]);
    document.components = Some(components);
    document
}
