//! Machine clients: agents with a scheme of identifiers, secrets and tokens of their own, restricted to one dock.

use machineauth_core::base64url;
use serde::{Deserialize, Serialize};

use crate::domain::id::{AgentId, ClientId};

/// How the identifier of a machine client begins.
const ID_PREFIX: &str = "mc_";
/// How its name in OAuth begins.
const CLIENT_ID_PREFIX: &str = "dyc_";
/// How its secrets begin.
pub const SECRET_PREFIX: &str = "dys_";
/// How opaque access tokens begin.
pub const TOKEN_PREFIX: &str = "dyt_";
/// The longest identifier of a dock or a party, in characters.
pub const MAX_FOREIGN_ID: usize = 128;
/// What a machine client may have when nobody says.
pub const DEFAULT_SCOPES: [&str; 3] = ["artifacts:write", "artifacts:read", "policies:read"];
/// How long a replaced secret of a machine client goes on working when nobody says: a day, in seconds.
pub const DEFAULT_GRACE: u64 = 86_400;

/// What makes an agent a machine client.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct MachineClient {
    /// The only dock that its tokens are good for; `None` for all of the organization's.
    pub dock_id: Option<ForeignId>,
    /// Whom its acts are ascribed to.
    pub party_id: Option<ForeignId>,
    /// What its access tokens look like.
    pub token_format: TokenFormat,
}

/// An identifier that another system made: 1 to [`MAX_FOREIGN_ID`] of `A-Z a-z 0-9 _ . : -`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct ForeignId(String);

/// What access tokens look like.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum TokenFormat {
    /// Sealed: only this server can read them, by introspection.
    #[default]
    Opaque,
    /// Signed: everybody can verify them.
    Jwt,
}

impl ForeignId {
    /// Reads an identifier of another system. `None` when it is none.
    pub fn parse(text: &str) -> Option<Self> {
        let fits = (1..=MAX_FOREIGN_ID).contains(&text.len())
            && text.bytes().all(|byte| {
                byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'.' | b':' | b'-')
            });
        fits.then(|| Self(text.to_owned()))
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// The machine client's identifier as the API shows it.
pub fn machine_id(id: AgentId) -> String {
    format!("{ID_PREFIX}{}", base64url::encode(id.as_bytes()))
}

/// The machine client's name in OAuth.
pub fn machine_client_id(id: ClientId) -> String {
    format!("{CLIENT_ID_PREFIX}{}", base64url::encode(id.as_bytes()))
}

/// Reads what [`machine_id`] wrote.
pub fn parse_machine_id(text: &str) -> Option<AgentId> {
    sixteen(text.strip_prefix(ID_PREFIX)?).map(AgentId::from_bytes)
}

/// Reads what [`machine_client_id`] wrote.
pub fn parse_machine_client_id(text: &str) -> Option<ClientId> {
    sixteen(text.strip_prefix(CLIENT_ID_PREFIX)?).map(ClientId::from_bytes)
}

fn sixteen(text: &str) -> Option<[u8; 16]> {
    base64url::decode(text)?.try_into().ok()
}
