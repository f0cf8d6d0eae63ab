//! What the upstream is told about the caller.

use http::HeaderName;
use machineauth_pingora::IdentityHeaders;
use serde_json::json;

use crate::edge::{Answer, Edge};
use crate::issuer::{ISSUER, Issuer};

fn bearer(issuer: &Issuer) -> String {
    format!("Bearer {}", issuer.token("read write"))
}

#[test]
fn the_upstream_learns_who_calls_and_not_the_token() {
    let issuer = Issuer::new();
    let answer = Edge::with(issuer.module()).get(&[("Authorization", &bearer(&issuer))]);
    let upstream = answer.at_upstream();
    assert_eq!(upstream.field("x-agent-id"), Some("agent-7"));
    assert_eq!(upstream.field("x-agent-scopes"), Some("read write"));
    assert_eq!(upstream.field("x-org-id"), Some("org-1"));
    assert_eq!(upstream.field("authorization"), None);
}

#[test]
fn an_upstream_that_verifies_too_gets_the_token() {
    let issuer = Issuer::new();
    let bearer = bearer(&issuer);
    let answer = Edge::with(issuer.module().forward_token()).get(&[("Authorization", &bearer)]);
    assert_eq!(
        answer.at_upstream().field("authorization"),
        Some(bearer.as_str())
    );
}

#[test]
fn credentials_that_are_not_ours_pass_where_tokens_are_optional() {
    let edge = Edge::with(Issuer::new().module().optional());
    let answer = edge.get(&[("Authorization", "Basic YTpi")]);
    assert_eq!(
        answer.at_upstream().field("authorization"),
        Some("Basic YTpi")
    );
}

#[test]
fn an_id_that_no_header_could_carry_unchanged_is_escaped() {
    let issuer = Issuer::new();
    let claims = json!({"sub": " ünit%7\r\nX-Org-Id: org-2", "org_id": "", "scope": []});
    let bearer = format!("Bearer {}", issuer.token_with(claims));
    let answer = Edge::with(issuer.module()).get(&[("Authorization", &bearer)]);
    let upstream = answer.at_upstream();
    assert_eq!(
        upstream.field("x-agent-id"),
        Some("%20%C3%BCnit%257%0D%0AX-Org-Id:%20org-2")
    );
    assert_eq!(upstream.field("x-org-id"), None);
    assert_eq!(upstream.field("x-agent-scopes"), Some(""));
}

const FORGED: [(&str, &str); 9] = [
    ("X-Agent-Id", "root"),
    ("x-agent-id", "root again"),
    ("X_Agent_Id", "root"),
    ("x-agent_id", "root"),
    ("X.Agent.Scopes", "admin"),
    ("x_agent_scopes", "admin"),
    ("X-ORG-ID", "org-2"),
    ("x_org_id", "org-2"),
    ("X-Agent-Issuer", "https://evil.example"),
];

/// The values that a client made up, wherever they ended up.
fn assert_nothing_forged(answer: &Answer) {
    let upstream = answer.at_upstream();
    for name in upstream.names() {
        let ours = ["x-agent-id", "x-agent-scopes", "x-org-id"].contains(&name);
        let spelling = name.replace(['_', '.'], "-");
        assert!(ours || !spelling.starts_with("x-"), "{upstream:?}");
    }
    for (_, value) in FORGED {
        for name in ["x-agent-id", "x-agent-scopes", "x-org-id"] {
            assert_ne!(upstream.field(name), Some(value));
        }
    }
}

/// V20
#[test]
fn forged_identity_headers_are_replaced_on_a_verified_request() {
    let issuer = Issuer::new();
    let bearer = bearer(&issuer);
    let headers = [&FORGED[..], &[("Authorization", bearer.as_str())]].concat();
    let answer = Edge::with(issuer.module()).get(&headers);
    assert_nothing_forged(&answer);
    assert_eq!(answer.at_upstream().field("x-agent-id"), Some("agent-7"));
}

/// V20
#[test]
fn forged_identity_headers_are_stripped_where_nobody_is_verified() {
    for edge in [
        Edge::with(Issuer::new().module().optional()),
        Edge::without_module(),
    ] {
        let answer = edge.get(&FORGED);
        assert_nothing_forged(&answer);
        assert_eq!(answer.at_upstream().field("x-agent-id"), None);
    }
}

/// V20
#[test]
fn a_client_cannot_have_our_headers_removed_as_hop_by_hop() {
    let issuer = Issuer::new();
    let answer = Edge::with(issuer.module()).get(&[
        ("Connection", "x-agent-id, x-agent-scopes, x-org-id"),
        ("X-Agent-Id", "root"),
        ("Authorization", &bearer(&issuer)),
    ]);
    let upstream = answer.at_upstream();
    assert_eq!(upstream.field("x-agent-id"), Some("agent-7"));
    assert_eq!(upstream.field("x-agent-scopes"), Some("read write"));
    assert_eq!(upstream.field("x-org-id"), Some("org-1"));
}

#[test]
fn the_upstream_is_told_in_the_headers_that_were_chosen() {
    let issuer = Issuer::new();
    let name = |text: &'static str| HeaderName::from_static(text);
    let headers = IdentityHeaders::default()
        .agent_id(name("x-caller"))
        .issuer(name("x-issuer"))
        .client_id(name("x-client"))
        .team_id(name("x-team"));
    let edge = Edge::with(issuer.module().identity(headers));
    let forged = [
        ("Authorization", bearer(&issuer)),
        ("X-Agent-Id", "root".to_owned()),
        ("X_Caller", "root".to_owned()),
        ("X-Team", "root".to_owned()),
    ];
    let forged: Vec<_> = forged
        .iter()
        .map(|(name, value)| (*name, value.as_str()))
        .collect();
    let answer = edge.get(&forged);
    let upstream = answer.at_upstream();
    assert_eq!(upstream.field("x-caller"), Some("agent-7"));
    assert_eq!(upstream.field("x-issuer"), Some(ISSUER));
    assert_eq!(upstream.field("x-client"), Some("agent-7"));
    assert_eq!(upstream.field("x-agent-scopes"), Some("read write"));
    assert!(
        !upstream
            .names()
            .any(|name| name == "x-team" || name == "x_caller")
    );
    // The default names are nobody else's either.
    assert_eq!(upstream.field("x-agent-id"), None);
}
