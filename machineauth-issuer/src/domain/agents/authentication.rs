//! Whether a client is who it says it is: by a secret that it shares with us, or by an assertion that it signed.

use std::sync::Arc;

use machineauth_core::clock::Timestamp;

use super::{AGENTS, Agents, Found, Source, StoredAgent, record_key};
use crate::domain::agent::{Agent, Refusal};
use crate::domain::assertion::{Assertion, Expected};
use crate::domain::id::{ClientId, SecretId};
use crate::domain::organization::IssuerUrl;
use crate::domain::secret::SecretText;
use crate::domain::verifications::Overloaded;
use crate::store::{Batch, Outcome, StoreError};

/// What a client presents to authenticate (RFC 6749 §2.3.1).
#[derive(Debug, Clone)]
pub struct Credentials {
    /// Who it says it is.
    pub client_id: ClientId,
    /// What proves it.
    pub secret: SecretText,
    /// What kind of proof that is.
    pub method: Method,
}

/// How a client proves who it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Method {
    /// With a secret that it shares with us (RFC 6749 §2.3.1).
    Secret,
    /// With an assertion that it signed (RFC 7523 §2.2).
    Assertion,
}

/// How a client presents itself.
#[derive(Debug, Clone)]
pub enum Presented {
    /// Not at all.
    Nothing,
    /// By name only, without proof.
    Name(ClientId),
    /// With a secret, still to be checked.
    Credentials(Credentials),
}

impl Presented {
    /// The credentials, if it brings any.
    pub fn credentials(&self) -> Option<&Credentials> {
        match self {
            Self::Nothing | Self::Name(_) => None,
            Self::Credentials(credentials) => Some(credentials),
        }
    }

    /// Who the client says it is.
    pub fn client_id(&self) -> Option<ClientId> {
        match self {
            Self::Nothing => None,
            Self::Name(client_id) | Self::Credentials(Credentials { client_id, .. }) => {
                Some(*client_id)
            }
        }
    }
}

/// What has proved who a client is.
#[derive(Debug)]
pub enum Proven {
    /// One of its secrets.
    BySecret {
        /// Which one.
        secret: SecretId,
        /// Its record with that secret kept as a keyed hash, where it is not yet.
        renewed: Option<Box<Agent>>,
    },
    /// An assertion, which can be used once.
    ByAssertion(Assertion),
}

impl Proven {
    /// Whether the batch that [`Agents::proven`] adds to changes the client's record.
    pub fn changes_the_record(&self) -> bool {
        matches!(
            self,
            Self::BySecret {
                renewed: Some(_),
                ..
            }
        )
    }
}

/// Why a client was not authenticated.
#[derive(Debug, thiserror::Error)]
pub enum AuthenticationError {
    /// Unknown, wrong secret, inactive or expired: which one is nobody's business (I3).
    #[error("invalid client credentials")]
    Refused,
    /// Nothing is known: too many others are being verified.
    #[error(transparent)]
    Overloaded(#[from] Overloaded),
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl Agents {
    /// The agent that `credentials` belong to, by its record as it stands now.
    ///
    /// # Errors
    /// [`AuthenticationError::Refused`] whatever was wrong with them, or what failed on our side.
    pub async fn authenticate(
        &self,
        credentials: &Credentials,
    ) -> Result<Arc<StoredAgent>, AuthenticationError> {
        if let Some(agent) = self.authenticate_at_hand(credentials).await? {
            return Ok(agent);
        }
        let found = self.by_client(credentials.client_id, Source::Store).await?;
        let Some(found) = found else {
            return Err(self.refuse_unknown(credentials));
        };
        let proven = self.prove(&found, credentials).await?;
        let agent = found.agent;
        let home = agent.value.home();
        if let Proven::ByAssertion(assertion) = &proven {
            let batch = assertion.use_up(Batch::new(home));
            if self.store.commit(&batch).await? == Outcome::Conflict {
                return Err(AuthenticationError::Refused);
            }
        }
        if proven.changes_the_record() {
            let record = record_key(home, agent.value.id);
            let batch = Batch::new(home).at_version(&record, agent.version);
            match self.store.commit(&renew(batch, &proven)).await? {
                // A conflict means that the record was changed, by a request like this one for example.
                Outcome::Committed | Outcome::Conflict => self.forget(credentials.client_id),
            }
        }
        Ok(agent)
    }

    /// As [`Agents::authenticate`], where the record at hand is the stored one and the secret fits: then nothing has to be read
    /// but versions. `None` says nothing at all.
    ///
    /// Where none is at hand another's is tried, so that time does not tell whose are (I3). A secret that was right until a
    /// moment ago takes one look more, once: who knows that has had the secret.
    async fn authenticate_at_hand(
        &self,
        credentials: &Credentials,
    ) -> Result<Option<Arc<StoredAgent>>, StoreError> {
        if credentials.method != Method::Secret {
            return Ok(None);
        }
        let known = self.by_client.get(&credentials.client_id);
        let tried = known
            .as_ref()
            .map_or(&self.decoy.agent, |(agent, _)| &agent.value);
        let now = self.clock.now();
        let fits = tried.authenticate(&credentials.secret, &self.vault, now);
        match known.filter(|_| fits.is_ok()) {
            Some(member) if self.is_stored(&member).await? => Ok(Some(member.0)),
            _ => Ok(None),
        }
    }

    /// Checks what somebody presents as the agent `found`: a secret at once against keyed hashes, and then, in a queue
    /// with others, against those that an import brought along; an assertion against the agent's key. That an assertion
    /// is used but once is for the batch to see that [`Agents::proven`] adds to.
    ///
    /// # Errors
    /// [`AuthenticationError::Refused`] when it proves nothing, or the agent may not act;
    /// [`AuthenticationError::Overloaded`].
    pub async fn prove(
        &self,
        found: &Found,
        credentials: &Credentials,
    ) -> Result<Proven, AuthenticationError> {
        match credentials.method {
            Method::Secret => {
                self.prove_by_secret(&found.agent, &credentials.secret)
                    .await
            }
            Method::Assertion => {
                let organization = found.organization.as_deref();
                let issuer = organization.and_then(|stored| stored.value.issuer.as_ref());
                self.prove_by_assertion(&found.agent.value, issuer, &credentials.secret)
            }
        }
    }

    async fn prove_by_secret(
        &self,
        agent: &StoredAgent,
        secret: &SecretText,
    ) -> Result<Proven, AuthenticationError> {
        let now = self.clock.now();
        match agent.value.authenticate(secret, &self.vault, now) {
            Ok(secret) => Ok(Proven::BySecret {
                secret,
                renewed: None,
            }),
            Err(Refusal::WrongSecret) => self.prove_by_brought(agent, secret).await,
            Err(Refusal::Inactive | Refusal::Expired) => Err(AuthenticationError::Refused),
        }
    }

    async fn prove_by_brought(
        &self,
        agent: &StoredAgent,
        secret: &SecretText,
    ) -> Result<Proven, AuthenticationError> {
        let now = self.clock.now();
        for (id, hash) in agent.value.brought_secrets(now) {
            let fits = self.verifications.verify(hash, agent.version, secret);
            if !fits.await? {
                continue;
            }
            // Only now, so that a wrong secret takes as long whether or not the agent may act (I3).
            return match agent.value.may_act(now) {
                Ok(()) => {
                    let renewed = agent.value.with_keyed_hash(id, secret, &self.vault);
                    Ok(Proven::BySecret {
                        secret: id,
                        renewed: Some(Box::new(renewed)),
                    })
                }
                Err(_) => Err(AuthenticationError::Refused),
            };
        }
        Err(AuthenticationError::Refused)
    }

    fn prove_by_assertion(
        &self,
        agent: &Agent,
        issuer: Option<&IssuerUrl>,
        assertion: &SecretText,
    ) -> Result<Proven, AuthenticationError> {
        let now = self.clock.now();
        let own = self.names.iter().map(String::as_str);
        let audiences: Vec<_> = own.chain(issuer.map(IssuerUrl::as_str)).collect();
        let expected = Expected {
            client: agent.client_id,
            name: &agent.client_name(),
            audiences: &audiences,
            now,
        };
        // Where there is no key, another refuses in about the same time (I3).
        let key = agent.public_key.as_ref().unwrap_or(&self.nobodys_key);
        match Assertion::verify(assertion.reveal(), key, &expected) {
            Some(assertion) if agent.may_act(now).is_ok() => Ok(Proven::ByAssertion(assertion)),
            _ => Err(AuthenticationError::Refused),
        }
    }

    /// Adds to `batch`, which insists on the agent's record as it was judged, what follows from the proof: when a secret
    /// was used last, and that it is kept as a keyed hash from now on; or that an assertion is used up.
    pub fn proven(&self, batch: Batch, proven: &Proven, now: Timestamp) -> Batch {
        match proven {
            Proven::BySecret { secret, .. } => renew(self.secret_used(batch, *secret, now), proven),
            Proven::ByAssertion(assertion) => assertion.use_up(batch),
        }
    }

    /// Refuses an unknown client in the time that it takes to refuse a known one with a wrong secret (I3).
    pub fn refuse_unknown(&self, credentials: &Credentials) -> AuthenticationError {
        let decoy = &self.decoy.agent;
        let presented = &credentials.secret;
        // Whatever the outcome: nobody has this agent's secret, or its key.
        let _ = match credentials.method {
            Method::Secret => decoy
                .authenticate(presented, &self.vault, self.clock.now())
                .is_ok(),
            Method::Assertion => self.prove_by_assertion(decoy, None, presented).is_ok(),
        };
        AuthenticationError::Refused
    }
}

/// Adds to `batch`, which insists on the agent's record as it was judged: the secret that was presented is kept as a
/// keyed hash from now on.
fn renew(batch: Batch, proven: &Proven) -> Batch {
    let Proven::BySecret {
        renewed: Some(agent),
        ..
    } = proven
    else {
        return batch;
    };
    let record = record_key(batch.partition(), agent.id);
    batch.put(&record, AGENTS.encode(agent))
}
