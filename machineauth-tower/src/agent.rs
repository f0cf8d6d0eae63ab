//! Who called.

use std::ops::Deref;
use std::sync::Arc;

use machineauth_core::Agent;

/// The agent whose access token [`MachineAuthLayer`](crate::MachineAuthLayer) accepted, from the request's extensions.
///
/// No client can put one there: extensions do not travel over the wire. Cloning costs no allocation.
#[derive(Clone, Debug)]
pub struct VerifiedAgent(pub(crate) Arc<Agent>);

impl Deref for VerifiedAgent {
    type Target = Agent;

    fn deref(&self) -> &Agent {
        &self.0
    }
}

impl From<VerifiedAgent> for Arc<Agent> {
    fn from(agent: VerifiedAgent) -> Self {
        agent.0
    }
}
