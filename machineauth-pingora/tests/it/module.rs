//! The module alone, as Pingora calls it.

use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use http::HeaderValue;
use machineauth_core::{Agent, ClientCertificate, ErrorKind, Policy, Rule, base64url};
use machineauth_pingora::{MachineAuth, MachineAuthModule};
use pingora_core::modules::http::{HttpModuleCtx, HttpModules};
use pingora_error::ErrorType::HTTPStatus;
use pingora_http::RequestHeader;
use proptest::prelude::*;
use serde_json::json;

use crate::issuer::{Issuer, NOW};

/// One proxy's modules, which make a context per request.
struct Modules(HttpModules);

/// What a request leaves behind.
struct Judged {
    context: HttpModuleCtx,
    request: RequestHeader,
    outcome: pingora_error::Result<()>,
}

impl Modules {
    fn with(module: MachineAuthModule) -> Self {
        let mut modules = HttpModules::new();
        modules.add_module(Box::new(module));
        Self(modules)
    }

    async fn judge(&self, path: &str, headers: &[(&'static str, &[u8])]) -> Judged {
        let mut request = RequestHeader::build("GET", path.as_bytes(), None).unwrap();
        for (name, value) in headers {
            request
                .append_header(*name, HeaderValue::from_bytes(value).unwrap())
                .unwrap();
        }
        let mut context = self.0.build_ctx();
        let outcome = context.request_header_filter(&mut request).await;
        Judged {
            context,
            request,
            outcome,
        }
    }

    async fn judge_token(&self, token: &str) -> Judged {
        let bearer = format!("Bearer {token}");
        self.judge("/", &[("authorization", bearer.as_bytes())])
            .await
    }
}

impl Judged {
    fn auth(&self) -> &MachineAuth {
        self.context.get().unwrap()
    }

    /// The status that Pingora is told, which must be the challenge's.
    fn status(&self) -> u16 {
        let Err(error) = &self.outcome else {
            assert!(self.auth().challenge().is_none());
            return 200;
        };
        let HTTPStatus(status) = error.etype() else {
            panic!("not a status: {error}")
        };
        assert_eq!(*status, self.auth().challenge().unwrap().status());
        assert!(self.auth().agent().is_none());
        *status
    }
}

/// Fails the test when the module waits.
fn at_once<T>(future: impl Future<Output = T>) -> T {
    match pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(done) => done,
        Poll::Pending => panic!("the request waits"),
    }
}

#[test]
fn a_verified_agent_is_in_the_context_and_in_the_extensions() {
    let issuer = Issuer::new();
    let judged = at_once(Modules::with(issuer.module()).judge_token(&issuer.token("read")));
    assert_eq!(judged.status(), 200);
    let agent = judged.auth().agent().unwrap();
    assert_eq!(agent.id(), "agent-7");
    let extension = judged.request.extensions.get::<Arc<Agent>>().unwrap();
    assert!(Arc::ptr_eq(agent, extension));
}

#[test]
fn the_token_stays_in_the_request_for_the_proxys_cache_to_see() {
    let issuer = Issuer::new();
    let judged = at_once(Modules::with(issuer.module()).judge_token(&issuer.token("read")));
    assert!(judged.request.headers.contains_key("authorization"));
}

#[tokio::test]
async fn only_a_token_whose_key_is_not_known_waits() {
    let issuer = Issuer::new();
    let modules = Modules::with(issuer.module_that_asks());
    assert_eq!(
        modules.judge_token(&issuer.token("read")).await.status(),
        200
    );
    assert_eq!(
        at_once(modules.judge_token(&issuer.token("read"))).status(),
        200
    );
    assert_eq!(at_once(modules.judge_token("garbage")).status(), 401);
}

/// V16
#[tokio::test]
async fn keys_that_cannot_be_had_are_503() {
    let issuer = Issuer::new();
    let modules = Modules::with(issuer.module_during_outage());
    let judged = modules.judge_token(&issuer.token("read")).await;
    assert_eq!(judged.status(), 503);
}

/// V17
#[test]
fn a_token_that_was_good_is_refused_once_it_has_expired() {
    let issuer = Issuer::new();
    let modules = Modules::with(issuer.module());
    let token = issuer.token("read");
    assert_eq!(at_once(modules.judge_token(&token)).status(), 200);
    issuer.clock.advance(Duration::from_secs(3600 + 60));
    assert_eq!(at_once(modules.judge_token(&token)).status(), 401);
}

#[test]
fn a_bad_token_is_401() {
    let issuer = Issuer::new();
    let modules = Modules::with(issuer.module());
    let bad = [
        "garbage".to_owned(),
        Issuer::new().token("read"),
        issuer.token_with(json!({"aud": "other-api"})),
        issuer.token_with(json!({"exp": NOW - 3600})),
    ];
    for token in bad {
        let judged = at_once(modules.judge_token(&token));
        assert_eq!(judged.status(), 401);
        let challenge = judged.auth().challenge().unwrap();
        assert_eq!(challenge.error_code(), "invalid_token");
    }
}

#[test]
fn every_required_scope_must_be_there() {
    let issuer = Issuer::new();
    let modules = Modules::with(issuer.module().require("read write").unwrap());
    let status = |scope| at_once(modules.judge_token(&issuer.token(scope))).status();
    assert_eq!(status("write admin read"), 200);
    assert_eq!(status("read"), 403);
    assert_eq!(status("reads write"), 403);
}

#[test]
fn requiring_nothing_or_no_scope_is_refused_when_the_proxy_is_built() {
    let require = |scopes| Issuer::new().module().require(scopes).unwrap_err().kind();
    assert_eq!(require(" "), ErrorKind::InvalidConfiguration);
    assert!(matches!(require("re\"ad"), ErrorKind::InvalidClaim(_)));
}

#[test]
fn where_tokens_are_optional_none_is_fine_and_a_bad_one_is_not() {
    let issuer = Issuer::new();
    let modules = Modules::with(issuer.module().optional());
    let anonymous = at_once(modules.judge("/", &[]));
    assert_eq!(anonymous.status(), 200);
    assert!(anonymous.auth().agent().is_none());
    assert_eq!(at_once(modules.judge_token("garbage")).status(), 401);
    let basic = at_once(modules.judge("/", &[("authorization", b"Basic YTpi")]));
    assert_eq!(basic.status(), 200);
}

#[test]
fn where_a_scope_is_required_no_token_is_optional() {
    let issuer = Issuer::new();
    let module = issuer.module().optional().require("read").unwrap();
    let judged = at_once(Modules::with(module).judge("/", &[]));
    assert_eq!(judged.status(), 401);
}

#[test]
fn a_subrequest_without_a_token_does_not_inherit_its_parents_agent() {
    let issuer = Issuer::new();
    let modules = Modules::with(issuer.module().optional());
    let mut request = at_once(modules.judge_token(&issuer.token("read"))).request;
    request.remove_header("authorization");
    let mut context = modules.0.build_ctx();
    at_once(context.request_header_filter(&mut request)).unwrap();
    assert!(request.extensions.get::<Arc<Agent>>().is_none());
}

fn policy() -> Policy {
    Policy::builder()
        .rule(Rule::get("/health").public())
        .rule(
            Rule::get("/docks/{dock_id}")
                .scopes("read")
                .bind("dock_id", "dockId"),
        )
        .build()
        .unwrap()
}

#[test]
fn a_policy_says_who_may_do_what_and_where_nobody_needs_a_token() {
    let issuer = Issuer::new();
    let modules = Modules::with(issuer.module().policy(policy()));
    let bearer = |claims| format!("Bearer {}", issuer.token_with(claims));
    let status = |path, token: &str| {
        let headers: &[(&'static str, &[u8])] = match token {
            "" => &[],
            token => &[("authorization", token.as_bytes())],
        };
        at_once(modules.judge(path, headers)).status()
    };
    let good = bearer(json!({"scope": "read", "dockId": "7"}));
    assert_eq!(status("/health", ""), 200);
    assert_eq!(status("/docks/7", ""), 401);
    assert_eq!(status("/docks/7", &good), 200);
    assert_eq!(status("/docks/8", &good), 403);
    assert_eq!(
        status(
            "/docks/7",
            &bearer(json!({"scope": "write", "dockId": "7"}))
        ),
        403
    );
    assert_eq!(status("/elsewhere", &good), 403);
    // V19
    assert_eq!(status("/x/../health", &good), 400);
    assert_eq!(status("health", &good), 400);
}

#[test]
fn a_policys_refusal_names_the_scopes_that_would_do() {
    let issuer = Issuer::new();
    let modules = Modules::with(issuer.module().policy(policy()));
    let judged = at_once(modules.judge("/docks/7", &[]));
    let challenge = judged.auth().challenge().unwrap().www_authenticate();
    assert_eq!(challenge.unwrap(), "Bearer scope=\"read\"");
}

#[test]
fn a_dry_run_lets_everything_through_and_says_what_it_would_have_refused() {
    let issuer = Issuer::new();
    let modules = Modules::with(issuer.module().policy(policy()).dry_run());
    for (token, would_be) in [("garbage", 401), (&issuer.token("write"), 403)] {
        let bearer = format!("Bearer {token}");
        let judged = at_once(modules.judge("/docks/7", &[("authorization", bearer.as_bytes())]));
        assert_eq!(judged.status(), 200);
        let would = judged.auth().would_refuse().unwrap();
        assert_eq!(would.status(), would_be);
        assert_eq!(judged.auth().agent().is_some(), would_be == 403);
    }
}

#[test]
fn a_policys_own_dry_run_is_only_about_what_it_would_refuse() {
    let issuer = Issuer::new();
    let policy = Policy::builder()
        .rule(Rule::get("/a").scopes("write"))
        .dry_run()
        .build()
        .unwrap();
    let modules = Modules::with(issuer.module().policy(policy));
    let judged = at_once(modules.judge("/a", &[]));
    assert_eq!(judged.status(), 200);
    assert_eq!(judged.auth().would_refuse().unwrap().status(), 401);
    let judged = at_once(modules.judge("/a", &[("authorization", b"Bearer garbage")]));
    assert_eq!(judged.status(), 401);
}

#[test]
fn a_request_for_which_nobody_chose_is_refused() {
    let modules = Modules::with(MachineAuthModule::chosen_per_request());
    assert_eq!(at_once(modules.judge("/", &[])).status(), 500);
}

#[test]
fn a_request_is_judged_by_what_was_chosen_for_it() {
    let issuer = Issuer::new();
    let mut modules = HttpModules::new();
    modules.add_module(Box::new(MachineAuthModule::chosen_per_request()));
    for (module, passes) in [(issuer.module(), false), (MachineAuthModule::open(), true)] {
        let mut context = modules.build_ctx();
        context.get_mut::<MachineAuth>().unwrap().judge_by(&module);
        let mut request = RequestHeader::build("GET", b"/", None).unwrap();
        let outcome = at_once(context.request_header_filter(&mut request));
        assert_eq!(outcome.is_ok(), passes);
    }
}

/// V17
#[test]
fn a_certificate_that_a_token_is_bound_to_must_have_been_shown() {
    let issuer = Issuer::new();
    let shown = ClientCertificate::from_der(b"a certificate");
    let thumbprint = base64url::encode(shown.thumbprint());
    let token = issuer.token_with(json!({"cnf": {"x5t#S256": thumbprint}}));
    let mut modules = HttpModules::new();
    modules.add_module(Box::new(issuer.module()));
    let other = ClientCertificate::from_der(b"another one");
    for (certificate, passes) in [(None, false), (Some(other), false), (Some(shown), true)] {
        let mut context = modules.build_ctx();
        let auth = context.get_mut::<MachineAuth>().unwrap();
        auth.client_certificate(certificate);
        let mut request = RequestHeader::build("GET", b"/", None).unwrap();
        let bearer = format!("Bearer {token}");
        request.insert_header("authorization", bearer).unwrap();
        let outcome = at_once(context.request_header_filter(&mut request));
        assert_eq!(outcome.is_ok(), passes);
    }
}

/// V18
#[test]
fn a_token_in_two_places_or_in_the_wrong_one_is_400() {
    let issuer = Issuer::new();
    let bearer = format!("Bearer {}", issuer.token("read"));
    let bearer = ("authorization", bearer.as_bytes());
    let cookie: (&str, &[u8]) = ("cookie", b"access_token=x");
    for module in [issuer.module(), issuer.module().optional()] {
        let modules = Modules::with(module);
        let status = |path, headers: &[_]| at_once(modules.judge(path, headers)).status();
        assert_eq!(status("/", &[bearer, bearer]), 400);
        assert_eq!(
            status("/", &[bearer, ("authorization", b"Basic YTpi")]),
            400
        );
        assert_eq!(status("/?access_token=x", &[bearer]), 400);
        assert_eq!(status("/?access_token=x", &[]), 400);
        assert_eq!(status("/", &[bearer, cookie]), 400);
        assert_eq!(status("/", &[cookie]), 400);
    }
}

proptest! {
    /// V23
    #[test]
    fn no_header_value_is_more_than_a_clients_fault(
        value in prop::collection::vec(
            any::<u8>().prop_filter("a field value has no controls", |byte| {
                *byte == b'\t' || (*byte >= b' ' && *byte != 0x7F)
            }),
            0..200,
        ),
        scheme in prop::sample::select(vec!["", "Bearer ", "bearer  ", "Basic "]),
    ) {
        let value = [scheme.as_bytes(), &value].concat();
        let modules = Modules::with(Issuer::new().module());
        let judged = at_once(modules.judge("/", &[("authorization", &value)]));
        prop_assert!((400..500).contains(&judged.status()));
    }
}
