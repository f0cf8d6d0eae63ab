//! A token that this server issued, and what it says.

use std::sync::Arc;

use machineauth_core::claims::Claims;
use machineauth_core::clock::Timestamp;
use machineauth_core::verifier::Agent as VerifiedAgent;

use super::refresh::RefreshToken;
use crate::domain::agent::home;
use crate::domain::event::{Action, Fact};
use crate::domain::id::{AgentId, ClientId, FamilyId, OrganizationId, TokenId};
use crate::store::Partition;

/// A token that this server signed. Nothing is said about whether it can be used.
#[derive(Debug)]
pub enum IssuedToken {
    /// A JWT for resource servers.
    Access(IssuedAccessToken),
    /// A value for the token endpoint.
    Refresh(RefreshToken),
}

/// An access token, and the identifiers in it.
#[derive(Debug)]
pub struct IssuedAccessToken {
    claims: TokenClaims,
    pub(super) agent: AgentId,
    pub(super) organization: Option<OrganizationId>,
    pub(super) client: ClientId,
    pub(super) token: TokenId,
    pub(super) family: Option<FamilyId>,
    pub(super) generation: u64,
}

impl IssuedToken {
    /// The client that it was issued to.
    pub fn client_id(&self) -> ClientId {
        match self {
            Self::Access(token) => token.client,
            Self::Refresh(token) => token.client_id,
        }
    }

    /// From when on it cannot be used.
    pub fn expires_at(&self) -> Timestamp {
        match self {
            Self::Access(token) => Timestamp::from_secs(token.claims().expires_at),
            Self::Refresh(token) => token.expires_at,
        }
    }
}

impl IssuedAccessToken {
    pub(super) fn read(known: TokenClaims) -> Option<Self> {
        let claims = known.claims();
        Some(Self {
            agent: claims.agent_id.as_deref()?.parse().ok()?,
            organization: claims
                .organization_id
                .as_deref()
                .map(str::parse)
                .transpose()
                .ok()?,
            client: claims.subject.parse().ok()?,
            token: claims.jwt_id.as_deref()?.parse().ok()?,
            family: claims
                .family_id
                .as_deref()
                .map(str::parse)
                .transpose()
                .ok()?,
            generation: claims.generation?,
            claims: known,
        })
    }

    /// The partition that its agent lives in.
    pub(super) fn home(&self) -> Partition {
        home(self.agent, self.organization)
    }

    /// What happened to it.
    pub(super) fn fact(&self, action: Action) -> Fact {
        let team = self.claims().team_id.as_deref();
        let team = team.and_then(|team| team.parse().ok());
        Fact::new(action)
            .about(self.agent, self.organization, team)
            .on("token", &self.token)
    }

    /// Everything that it says.
    pub fn claims(&self) -> &Claims {
        self.claims.claims()
    }
}

/// What a token says, and why that is believed.
#[derive(Debug)]
pub(super) enum TokenClaims {
    /// We signed it.
    Signed(Arc<VerifiedAgent>),
    /// We sealed it.
    Sealed(Box<Claims>),
}

impl TokenClaims {
    fn claims(&self) -> &Claims {
        match self {
            Self::Signed(verified) => verified.claims(),
            Self::Sealed(claims) => claims,
        }
    }
}
