//! Who sent a request: from its headers to a verified agent, for a layer and for an edge alike.
//!
//! An [`Authenticator`] is a [`Verifier`] with what a server demands around it: whether a token must be there, whether
//! proofs of possession are taken, what its challenges say. It knows neither frameworks nor sockets.
//!
//! ```
//! use http::{HeaderMap, Method, Uri};
//! use machineauth_core::authenticate::{Authenticator, Judgement};
//! # use machineauth_core::{KeySet, Verifier};
//!
//! # fn main() -> Result<(), machineauth_core::Error> {
//! # let verifier = Verifier::builder("https://auth.example.com", "https://api.example.com").keys(KeySet::default()).build()?;
//! let authenticator = Authenticator::new(verifier);
//! let (headers, uri) = (HeaderMap::new(), Uri::from_static("/artifacts"));
//! let Judgement::Refused(error) = authenticator.judge(&Method::GET, &headers, &uri, None) else {
//!     panic!("there is no token");
//! };
//! assert_eq!(authenticator.challenge(error).status(), 401);
//! # Ok(())
//! # }
//! ```

use std::fmt;
use std::sync::Arc;

use bytes::Bytes;
use http::{HeaderMap, Method, Response, Uri};

use crate::bearer::{Credentials, Scheme, credentials};
use crate::certificate::ClientCertificate;
use crate::challenge::{Challenge, ProtectedResource};
use crate::dpop::{Dpop, Proof};
use crate::error::{Error, ErrorKind};
use crate::resource_metadata::ResourceMetadata;
use crate::verifier::{Agent, Possession, Verifier};

/// Says of each request who sent it.
#[derive(Clone, Debug)]
pub struct Authenticator {
    verifier: Verifier,
    optional: bool,
    dpop: Option<Dpop>,
    resource: ProtectedResource,
    metadata: Option<ResourceMetadata>,
}

/// What can be said about a request without waiting.
#[derive(Debug)]
pub enum Judgement {
    /// Its token is good.
    Verified(Arc<Agent>),
    /// It has none, and needs none.
    Anonymous,
    /// It is not to be served.
    Refused(Error),
    /// The key of its token is not at hand, or only the issuer can read it: somebody must be [asked](Undecided::decide).
    Undecided(Undecided),
}

impl Authenticator {
    /// Lets requests through whose access token `verifier` accepts.
    pub fn new(verifier: Verifier) -> Self {
        Self {
            verifier,
            optional: false,
            dpop: None,
            resource: ProtectedResource::default(),
            metadata: None,
        }
    }

    /// Lets requests without any token through as well. A token that is there must still be good.
    #[must_use]
    pub fn optional(mut self) -> Self {
        self.optional = true;
        self
    }

    /// Takes tokens that are bound to a key, in the scheme `DPoP` and with a proof (RFC 9449 §7). Tokens that are bound to
    /// none are still good as `Bearer`, and bound ones are not.
    #[must_use]
    pub fn dpop(mut self, dpop: Dpop) -> Self {
        self.dpop = Some(dpop);
        self
    }

    /// Names the protection space in challenges (RFC 9110 §11.5).
    #[must_use]
    pub fn realm(mut self, realm: impl Into<String>) -> Self {
        self.resource = self.resource.realm(realm);
        self
    }

    /// Says in challenges where the protected resource's metadata is (RFC 9728 §5.1).
    #[must_use]
    pub fn resource_metadata(mut self, url: impl Into<String>) -> Self {
        self.resource = self.resource.metadata(url);
        self
    }

    /// Answers for the protected resource's metadata (RFC 9728 §3) by [`Authenticator::document_for`], and names it in
    /// challenges. Where it names no authorization server, the issuers of the verifier are named.
    #[must_use]
    pub fn protects(mut self, metadata: ResourceMetadata) -> Self {
        self.resource = self.resource.metadata(metadata.url());
        let named = metadata.names_authorization_servers();
        let issuers = self.verifier.issuers().filter(|_| !named);
        self.metadata = Some(issuers.fold(metadata, ResourceMetadata::authorization_server));
        self
    }

    /// Who verifies the tokens.
    pub fn verifier(&self) -> &Verifier {
        &self.verifier
    }

    /// What all challenges say.
    pub fn resource(&self) -> &ProtectedResource {
        &self.resource
    }

    /// The protected resource's metadata, when that is what a request asks for.
    pub fn document_for(&self, method: &Method, path: &str) -> Option<Response<Bytes>> {
        let metadata = self.metadata.as_ref()?;
        let asked = matches!(*method, Method::GET | Method::HEAD) && path == metadata.path();
        asked.then(|| metadata.to_response())
    }

    /// What can be said about a request without waiting. `certificate` is the one that its connection showed.
    pub fn judge(
        &self,
        method: &Method,
        headers: &HeaderMap,
        uri: &Uri,
        certificate: Option<ClientCertificate>,
    ) -> Judgement {
        match self.judged(method, headers, uri, certificate) {
            Ok(judgement) => judgement,
            Err(error) if self.optional && error.kind() == ErrorKind::MissingToken => {
                Judgement::Anonymous
            }
            Err(error) => Judgement::Refused(error),
        }
    }

    /// How to refuse with `error`.
    pub fn challenge(&self, error: Error) -> Challenge {
        self.complete(Challenge::from(error))
    }

    /// Adds to a challenge what all of this server's say.
    pub fn complete(&self, challenge: Challenge) -> Challenge {
        let challenge = self.resource.complete(challenge);
        match &self.dpop {
            Some(dpop) => challenge.dpop(dpop),
            None => challenge,
        }
    }

    fn judged(
        &self,
        method: &Method,
        headers: &HeaderMap,
        uri: &Uri,
        certificate: Option<ClientCertificate>,
    ) -> Result<Judgement, Error> {
        let credentials = credentials(headers, uri)?;
        let proof = self.proof_with(&credentials, method, headers, uri)?;
        let shown = Shown { proof, certificate };
        if let Some(checked) = self
            .verifier
            .check_known(credentials.sent, &shown.possession())
        {
            return self.admit(checked, &shown).map(Judgement::Verified);
        }
        let token = credentials.token()?;
        match self.verifier.check_as(token, &shown.possession()) {
            Err(error) if self.verifier.can_recover(&error) => {
                let token = token.to_owned();
                Ok(Judgement::Undecided(Undecided { token, shown }))
            }
            checked => self.admit(checked, &shown).map(Judgement::Verified),
        }
    }

    fn proof_with(
        &self,
        credentials: &Credentials<'_>,
        method: &Method,
        headers: &HeaderMap,
        uri: &Uri,
    ) -> Result<Option<Proof>, Error> {
        match (credentials.scheme, &self.dpop) {
            (Scheme::Bearer, _) => Ok(None),
            (Scheme::Dpop, None) => Err(ErrorKind::MissingToken.into()),
            (Scheme::Dpop, Some(dpop)) => {
                let token = credentials.token()?;
                let proof = Dpop::proof_of(headers)?.ok_or(ErrorKind::InvalidProof)?;
                let (method, path) = (method.as_str(), uri.path());
                dpop.verify(proof, method, path, Some(token)).map(Some)
            }
        }
    }

    /// The last word: a proof is used up only when everything else is good.
    fn admit(
        &self,
        checked: Result<Arc<Agent>, Error>,
        shown: &Shown,
    ) -> Result<Arc<Agent>, Error> {
        let agent = checked?;
        if let (Some(dpop), Some(proof)) = (&self.dpop, &shown.proof) {
            dpop.redeem(proof)?;
        }
        Ok(agent)
    }
}

/// What the sender of a token has beside it.
#[derive(Debug)]
struct Shown {
    proof: Option<Proof>,
    certificate: Option<ClientCertificate>,
}

impl Shown {
    fn possession(&self) -> Possession<'_> {
        let mut possession = Possession::NOTHING;
        if let Some(proof) = &self.proof {
            possession = possession.key(proof.thumbprint());
        }
        if let Some(certificate) = &self.certificate {
            possession = possession.certificate(certificate);
        }
        possession
    }
}

/// A request of whose token nothing can be said yet.
pub struct Undecided {
    token: String,
    shown: Shown,
}

impl Undecided {
    /// Has the issuer asked, for a bounded time. `authenticator` is the one that could not tell.
    ///
    /// # Errors
    /// As [`Verifier::verify_as`].
    pub async fn decide(self, authenticator: &Authenticator) -> Result<Arc<Agent>, Error> {
        let Self { token, shown } = self;
        let verifier = &authenticator.verifier;
        let verified = verifier.verify_as(&token, &shown.possession()).await;
        authenticator.admit(verified, &shown)
    }
}

impl fmt::Debug for Undecided {
    /// Without the token, which is a secret.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Undecided").finish_non_exhaustive()
    }
}
