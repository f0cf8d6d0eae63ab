//! Proofs of possession at the token endpoint (RFC 9449 §5).

use std::sync::Arc;

use machineauth_core::clock::Clock;
use machineauth_core::dpop::{Dpop, Proof};
use machineauth_core::{Error, ErrorKind};

/// Judges the proofs of those who ask for tokens.
#[derive(Debug)]
pub struct Proofs {
    /// None, when the issuer's name is no URL, so that nobody knows what clients write in a proof.
    dpop: Option<Dpop>,
    /// What stands before the paths of this server in its issuer's URL.
    base: String,
}

impl Proofs {
    /// For a server that its clients call at `issuer`.
    pub fn new(issuer: &str, clock: Arc<dyn Clock>) -> Self {
        let after_scheme = issuer.find("://").map_or(0, |at| at + 3);
        let path = issuer[after_scheme..].find('/');
        let (origin, base) = issuer.split_at(path.map_or(issuer.len(), |at| after_scheme + at));
        Self {
            dpop: Dpop::builder(origin).clock(clock).build().ok(),
            base: base.trim_end_matches('/').to_owned(),
        }
    }

    /// The names of the algorithms that proofs may be signed with.
    pub fn algorithms(&self) -> Vec<String> {
        let names = self.dpop.as_ref().map(Dpop::algorithms).unwrap_or_default();
        names.split_whitespace().map(str::to_owned).collect()
    }

    /// Judges a proof for a `POST` to `path`. It has not been used up.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidProof`]
    pub fn verify(&self, proof: &str, path: &str) -> Result<Proof, Error> {
        let dpop = self.dpop.as_ref().ok_or(ErrorKind::InvalidProof)?;
        dpop.verify(proof, "POST", &format!("{}{path}", self.base), None)
    }

    /// Refuses a proof that was used up.
    ///
    /// # Errors
    /// As [`Proofs::redeem`].
    pub fn check_unused(&self, proof: &Proof) -> Result<(), Error> {
        let dpop = self.dpop.as_ref();
        dpop.map_or(Ok(()), |dpop| dpop.check_unused(proof))
    }

    /// Uses a proof up.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidProof`] when it was used before, [`ErrorKind::ReplayGuardFull`] when nobody can tell.
    pub fn redeem(&self, proof: &Proof) -> Result<(), Error> {
        self.dpop.as_ref().map_or(Ok(()), |dpop| dpop.redeem(proof))
    }
}
