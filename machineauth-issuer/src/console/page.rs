//! What every page has, and how it is answered.

use askama::Template;
use axum::response::{Html, IntoResponse as _, Redirect, Response};
use http::header::{CONTENT_SECURITY_POLICY, X_FRAME_OPTIONS};
use http::{HeaderValue, StatusCode};

use super::assets::{HTMX, MARK, SCRIPT, STYLE};
use super::session::{FormToken, PASSWORD_FIELD, TOKEN_FIELD};
use crate::domain::administrators::Role;
use crate::error::ApiError;

/// Nothing but our own files, nothing inline, framed by nobody, and forms that lead nowhere else (I19).
const OWN_FILES_ONLY: HeaderValue = HeaderValue::from_static(
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; \
     form-action 'self'; base-uri 'none'; frame-ancestors 'none'",
);

/// The places of the console.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Section {
    /// What goes on.
    Dashboard,
    /// The agents.
    Agents,
    /// The tenants.
    Organizations,
    /// Looking at tokens.
    Tokens,
    /// Who is told what happens.
    Webhooks,
    /// What happened.
    Audit,
    /// What tokens are signed with.
    Keys,
    /// What is configured.
    Configuration,
    /// Who may come in here.
    Administrators,
    /// Whoever is signed in.
    Account,
}

/// Where our files are.
#[derive(Debug, Clone, Copy)]
pub struct Assets;

impl Assets {
    /// The style sheet.
    pub fn style(self) -> &'static str {
        STYLE.path()
    }

    /// Our script.
    pub fn script(self) -> &'static str {
        SCRIPT.path()
    }

    /// The script that makes parts of pages live.
    pub fn htmx(self) -> &'static str {
        HTMX.path()
    }

    /// The picture in the tab of a browser.
    pub fn mark(self) -> &'static str {
        MARK.path()
    }
}

/// What surrounds a page.
pub struct Shell {
    /// Where we are.
    pub section: Section,
    /// Who looks at it.
    pub email: Box<str>,
    /// What that is.
    pub role: Role,
    /// What its forms carry.
    pub token: FormToken,
    /// Whether a password has to be typed before a new secret is shown.
    pub must_prove: bool,
    /// What was just done.
    pub notice: Option<&'static str>,
}

impl Shell {
    /// With what was just done, by its name in a query.
    #[must_use]
    pub fn after(self, done: Option<&str>) -> Self {
        Self {
            notice: done.and_then(Done::find).map(Done::sentence),
            ..self
        }
    }

    /// Our files.
    pub fn assets(&self) -> Assets {
        Assets
    }

    /// The places to go: their keys, their paths, and what they are called.
    pub fn places(&self) -> [(&'static str, &'static str, &'static str); 9] {
        [
            ("dashboard", "/admin", "Dashboard"),
            ("agents", "/admin/agents", "Agents"),
            ("organizations", "/admin/organizations", "Organizations"),
            ("tokens", "/admin/tokens", "Tokens"),
            ("webhooks", "/admin/webhooks", "Webhooks"),
            ("audit", "/admin/audit", "Audit"),
            ("keys", "/admin/keys", "Keys"),
            ("configuration", "/admin/configuration", "Configuration"),
            ("administrators", "/admin/administrators", "Administrators"),
        ]
    }

    /// Whether we are at the place with that key.
    pub fn is_at(&self, section: &str) -> bool {
        section == self.section.name()
    }

    /// Whether forms that change something are shown.
    pub fn can_change(&self) -> bool {
        self.role.may_change()
    }

    /// Whether other administrators are this one's affair.
    pub fn is_owner(&self) -> bool {
        self.role == Role::Owner
    }

    /// What this administrator is, in a word.
    pub fn role_name(&self) -> &'static str {
        self.role.as_str()
    }

    /// The name of the field for the token of a form.
    pub fn token_field(&self) -> &'static str {
        TOKEN_FIELD
    }

    /// The name of the field for the password.
    pub fn password_field(&self) -> &'static str {
        PASSWORD_FIELD
    }
}

impl Section {
    fn name(self) -> &'static str {
        match self {
            Self::Dashboard => "dashboard",
            Self::Agents => "agents",
            Self::Organizations => "organizations",
            Self::Tokens => "tokens",
            Self::Webhooks => "webhooks",
            Self::Audit => "audit",
            Self::Keys => "keys",
            Self::Configuration => "configuration",
            Self::Administrators => "administrators",
            Self::Account => "account",
        }
    }
}

/// The answer with a page.
pub fn page(page: &impl Template) -> Response {
    page_with(StatusCode::OK, page)
}

/// The answer to a form that was refused, which shows it again.
pub fn refused(page: &impl Template) -> Response {
    page_with(StatusCode::UNPROCESSABLE_ENTITY, page)
}

/// The answer with a page and a status.
pub fn page_with(status: StatusCode, page: &impl Template) -> Response {
    let mut response = match page.render() {
        Ok(html) => (status, Html(html)).into_response(),
        Err(error) => {
            tracing::error!(%error, "a page cannot be written");
            return ApiError::ServerError.into_response();
        }
    };
    let headers = response.headers_mut();
    headers.insert(CONTENT_SECURITY_POLICY, OWN_FILES_ONLY);
    headers.insert(X_FRAME_OPTIONS, HeaderValue::from_static("DENY"));
    response
}

/// Something that was done, to be said on the page that follows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Done(&'static str, &'static str);

macro_rules! done {
    ($($name:ident = $code:literal, $sentence:literal;)*) => {
        impl Done {
            $(#[doc = $sentence] pub const $name: Self = Self($code, $sentence);)*
            const ALL: &[Self] = &[$(Self::$name),*];
        }
    };
}

done! {
    AGENT_CHANGED = "agent-changed", "The agent was changed.";
    AGENT_DEACTIVATED = "agent-deactivated", "The agent was deactivated: its tokens are refused.";
    AGENT_REACTIVATED = "agent-reactivated", "The agent was reactivated.";
    AGENT_DELETED = "agent-deleted", "The agent was deleted, and its tokens ended.";
    ORGANIZATION_CREATED = "organization-created", "The organization was created.";
    ORGANIZATION_CHANGED = "organization-changed", "The organization was changed.";
    ORGANIZATION_DELETED = "organization-deleted", "The organization was deleted, with all that belonged to it.";
    TEAM_CREATED = "team-created", "The team was created.";
    TEAM_CHANGED = "team-changed", "The team was changed.";
    TEAM_DELETED = "team-deleted", "The team was deleted.";
    API_KEY_REVOKED = "api-key-revoked", "The API key was revoked.";
    WEBHOOK_CHANGED = "webhook-changed", "The webhook was changed.";
    WEBHOOK_ENABLED = "webhook-enabled", "The webhook is told again what happens.";
    WEBHOOK_DISABLED = "webhook-disabled", "The webhook is told nothing any more; what waits for it goes on waiting.";
    WEBHOOK_DELETED = "webhook-deleted", "The webhook was deleted.";
    WEBHOOK_TESTED = "webhook-tested", "The test was sent; this became of it.";
    DELIVERY_REPLAYED = "delivery-replayed", "The delivery is sent again.";
    DELIVERIES_REPLAYED = "deliveries-replayed", "They are sent again.";
    KEY_ROTATED = "key-rotated", "The new key is published.";
    KEY_IMPORTED = "key-imported", "The key was imported.";
    KEY_RETIRED = "key-retired", "The key leaves the key set when its last token can be good.";
    KEY_REVOKED = "key-revoked", "The key was revoked: no verifier takes its tokens.";
    ADMINISTRATOR_CHANGED = "administrator-changed", "The administrator has another role, and has to sign in again.";
    ADMINISTRATOR_REMOVED = "administrator-removed", "The administrator was removed, and its sessions ended.";
    INVITATION_WITHDRAWN = "invitation-withdrawn", "The invitation was withdrawn.";
    INVITATION_GONE = "invitation-gone", "There is no such invitation any more: it was used, withdrawn or too old.";
    PASSWORD_CHANGED = "password-changed", "Your password was changed, and your other sessions ended.";
    SESSION_ENDED = "session-ended", "The session was ended.";
    SESSION_GONE = "session-gone", "The session had ended before.";
    SESSIONS_ENDED = "sessions-ended", "Your other sessions were ended.";
    SECRET_CANCELLED = "secret-cancelled", "The secret was cancelled.";
}

impl Done {
    fn find(code: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|done| done.0 == code)
    }

    fn sentence(self) -> &'static str {
        self.1
    }

    /// The answer to a form: on to the page at `path`, which says what was done.
    pub fn then(self, path: &str) -> Response {
        Redirect::to(&self.at(path)).into_response()
    }

    /// The page at `path`, which says what was done.
    pub fn at(self, path: &str) -> String {
        format!("{path}?done={}", self.0)
    }
}

/// What a page may be told by its query when it follows a form.
#[derive(Debug, Default, serde::Deserialize)]
#[serde(default)]
pub struct Following {
    /// What was done.
    pub done: Option<String>,
}
