//! The paths that are named in more than one place.

/// The token endpoint.
pub const TOKEN: &str = "/oauth/token";
/// The token endpoint of machine clients.
pub const MACHINE_TOKEN: &str = "/v1/oauth/token";
/// The introspection endpoint.
pub const INTROSPECT: &str = "/oauth/introspect";
/// The revocation endpoint.
pub const REVOKE: &str = "/oauth/revoke";
/// The documented short form of the refresh grant.
pub const REFRESH: &str = "/oauth/refresh";
/// The revocation feed.
pub const REVOCATIONS: &str = "/oauth/revocations";
/// The key set.
pub const JWKS: &str = "/.well-known/jwks.json";
/// The metadata of RFC 8414.
pub const OAUTH_METADATA: &str = "/.well-known/oauth-authorization-server";
/// The metadata where OpenID Connect clients look for it.
pub const OPENID_METADATA: &str = "/.well-known/openid-configuration";
/// The description of this API.
pub const OPENAPI: &str = "/openapi.json";
/// The agents.
pub const AGENTS: &str = "/api/agents";

/// What `GET /` names.
pub const ENDPOINTS: [&str; 7] = [
    TOKEN,
    INTROSPECT,
    REVOKE,
    REFRESH,
    REVOCATIONS,
    AGENTS,
    JWKS,
];

/// The console.
pub const ADMIN: &str = "/admin";
/// Where administrators sign in.
pub const ADMIN_SIGN_IN: &str = "/admin/sign-in";
/// Whether the audit trail is as it was sealed.
pub const VERIFICATION: &str = "/admin/audit/verification";
/// Who administers the server.
pub const ADMINISTRATORS: &str = "/admin/administrators";
/// Whoever is signed in.
pub const ACCOUNT: &str = "/admin/account";
/// Where whoever was invited becomes an administrator; the token follows.
pub const INVITATION: &str = "/admin/invitation";
/// The console's files.
pub const ADMIN_ASSETS: &str = "/admin/assets";
