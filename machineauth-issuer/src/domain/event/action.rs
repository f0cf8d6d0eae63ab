//! Everything that can happen, by name.

use std::fmt;

/// Whether what was tried was done.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// It was.
    Success,
    /// It was not.
    Failure,
    /// A newer version knows.
    #[default]
    #[serde(other)]
    Other,
}

impl Outcome {
    /// `success`, `failure`, or `other`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Success => "success",
            Self::Failure => "failure",
            Self::Other => "other",
        }
    }
}

macro_rules! actions {
    ($($name:ident = $text:literal, $outcome:ident, $what:literal;)*) => {
        /// Everything that can happen. What is said of each stands in `docs/audit.md`, which is made from here.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub enum Action {
            $(#[doc = $what] $name,)*
        }

        impl Action {
            /// All of them, in the order in which people read about them.
            pub const ALL: &[Self] = &[$(Self::$name),*];

            /// What it is called in the audit trail and by webhooks.
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$name => $text,)* }
            }

            /// Whether it says that something was done, or that it was not.
            pub const fn outcome(self) -> Outcome {
                match self { $(Self::$name => Outcome::$outcome,)* }
            }

            /// What it says, in a sentence for people.
            pub const fn what(self) -> &'static str {
                match self { $(Self::$name => $what,)* }
            }
        }
    };
}

actions! {
    AgentCreated = "agent.created", Success, "An agent or a machine client was created.";
    AgentUpdated = "agent.updated", Success, "An agent was modified; `changed` names the fields.";
    AgentDeleted = "agent.deleted", Success, "An agent was deleted, and all of its tokens ended.";
    AgentCredentialsRotated = "agent.credentials_rotated", Success, "An agent got a new secret.";
    AgentSecretRevoked = "agent.secret_revoked", Success, "A secret that a rotation had left alive was ended.";
    AgentDeactivated = "agent.deactivated", Success, "An agent was deactivated, by itself or by an administrator.";
    AgentReactivated = "agent.reactivated", Success, "An agent was reactivated.";
    TokenIssued = "token.issued", Success, "An access token was issued. Summed up by the minute unless `AUDIT_TOKEN_EVENTS=each`.";
    TokenValidationSuccess = "token.validation_success", Success, "A token passed introspection. Summed up as `token.issued` is.";
    TokenValidationFailed = "token.validation_failed", Failure, "A token failed introspection. Summed up as `token.issued` is.";
    TokenRevoked = "token.revoked", Success, "An access token was revoked, or a refresh token with its whole family.";
    TokenRefreshReused = "token.refresh_reused", Failure, "A redeemed refresh token came again; its family was revoked.";
    OrganizationCreated = "organization.created", Success, "An organization was created.";
    OrganizationUpdated = "organization.updated", Success, "An organization was modified; `changed` names the fields.";
    OrganizationDeleted = "organization.deleted", Success, "An organization was deleted; what belonged to it follows.";
    TeamCreated = "team.created", Success, "A team was created.";
    TeamUpdated = "team.updated", Success, "A team was modified; `changed` names the fields.";
    TeamDeleted = "team.deleted", Success, "A team was deleted.";
    ApiKeyCreated = "api_key.created", Success, "An API key was created.";
    ApiKeyRevoked = "api_key.revoked", Success, "An API key was revoked.";
    SigningKeyCreated = "signing_key.created", Success, "The first signing key of its issuer or algorithm was made.";
    SigningKeyRotated = "signing_key.rotated", Success, "A new signing key was published, to follow the one that signs.";
    SigningKeyImported = "signing_key.imported", Success, "A signing key that was made elsewhere was published.";
    SigningKeyRetired = "signing_key.retired", Success, "A signing key was told to leave the key set.";
    SigningKeyRevoked = "signing_key.revoked", Success, "A signing key was revoked: no verifier takes its tokens.";
    SigningKeyRemoved = "signing_key.removed", Success, "A signing key left the key set at once; `successor` names the key that signs instead.";
    ServerKeyChanged = "server_key.changed", Success, "The store is opened with another server key from now on: its data key was wrapped anew.";
    WebhookCreated = "webhook.created", Success, "A webhook was created.";
    WebhookUpdated = "webhook.updated", Success, "A webhook was modified.";
    WebhookDeleted = "webhook.deleted", Success, "A webhook was deleted.";
    WebhookTest = "webhook.test", Success, "A test delivery of a webhook was triggered.";
    WebhookReplayed = "webhook.replayed", Success, "Deliveries to a webhook were asked for again: one, all that were given up, or all since a time. The last two are recorded before the first is sent.";
    WebhookDisabled = "webhook.disabled", Failure, "A webhook was disabled, since its receiver is gone or fails.";
    AdministratorPasswordSet = "administrator.password_set", Success, "An administrator got a password that decides instead of the configured one; all sessions ended.";
    AdministratorForgotten = "administrator.forgotten", Success, "The configured password of an administrator decides again; all sessions ended.";
    AdministratorInvited = "administrator.invited", Success, "Somebody was invited to become an administrator; `role` says which kind.";
    AdministratorInvitationWithdrawn = "administrator.invitation_withdrawn", Success, "An invitation was made worthless before anybody accepted it.";
    AdministratorJoined = "administrator.joined", Success, "Somebody accepted an invitation and is an administrator.";
    AdministratorRoleChanged = "administrator.role_changed", Success, "An administrator got another role; its sessions ended.";
    AdministratorPasswordChanged = "administrator.password_changed", Success, "An administrator changed its password; its sessions ended.";
    AdministratorRemoved = "administrator.removed", Success, "An administrator was removed with its sessions.";
    LoginSucceeded = "login.succeeded", Success, "An administrator logged in.";
    LoginConfirmed = "login.confirmed", Success, "An administrator presented its password again, in a session.";
    LoginFailed = "login.failed", Failure, "A login failed. Summed up by the minute.";
    SessionEnded = "session.ended", Success, "Sessions of an administrator were ended before their time; `sessions` says how many.";
    AuthenticationFailed = "authentication.failed", Failure, "A client, an API key or an administrator presented something wrong. Summed up by the minute.";
    LimitExceeded = "limit.exceeded", Failure, "Requests were refused because there were too many. Summed up by the minute.";
    LimitLockedOut = "limit.locked_out", Failure, "Requests were refused because of too many wrong secrets. Summed up by the minute.";
    StoreRestored = "store.restored", Success, "The store was restored from a backup; unless `tokens_kept`, everything issued before was revoked.";
    ServerStarted = "server.started", Success, "An issuer started on this store.";
}

impl Action {
    /// Whether it says that a token was issued or introspected, which happens so often that it is usually summed up.
    pub const fn is_about_a_token(self) -> bool {
        matches!(
            self,
            Self::TokenIssued | Self::TokenValidationSuccess | Self::TokenValidationFailed
        )
    }

    /// The action of that name.
    pub fn find(name: &str) -> Option<Self> {
        Self::ALL
            .iter()
            .copied()
            .find(|action| action.as_str() == name)
    }
}

impl fmt::Display for Action {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
