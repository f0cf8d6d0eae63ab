//! Who may call how often, from where, and what every answer carries.

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;
use http::HeaderValue;
use machineauth_core::clock::{ManualClock, Timestamp};
use machineauth_issuer::store::RedisStore;
use machineauth_tests::agent::Agent;
use machineauth_tests::http::Answer;
use machineauth_tests::issuer::{ADMIN, Builder, Issuer};
use machineauth_tests::redis_server::RedisServer;
use reqwest::Method;
use serde_json::json;

fn fixed() -> (Builder, ManualClock) {
    let clock = ManualClock::new(Timestamp::from_secs(1_800_000_000));
    (Issuer::builder().clock(&clock), clock)
}

/// A request for a token that comes from `address`, by way of a proxy on loopback.
async fn token_from(issuer: &Issuer, address: &str, agent: &Agent, secret: &str) -> Answer {
    let form = [
        ("grant_type", "client_credentials"),
        ("client_id", &*agent.client_id),
        ("client_secret", secret),
    ];
    let request = issuer
        .request(Method::POST, "/oauth/token")
        .header("x-forwarded-for", address)
        .form(&form);
    Answer::to(request).await
}

/// I6
#[tokio::test]
async fn who_guesses_uses_up_nothing_of_what_the_client_may_do() {
    let (builder, _clock) = fixed();
    let issuer = builder
        .with("RATE_LIMIT_PER_CLIENT", "1")
        .with("FAILURE_LIMIT", "5")
        .with("TRUSTED_PROXIES", "127.0.0.1")
        .start()
        .await;
    let agent = issuer.agent(&["read"]).await;
    for guess in 0..20 {
        token_from(&issuer, "203.0.113.1", &agent, &format!("wrong {guess}")).await;
    }
    let granted = async || token_from(&issuer, "203.0.113.2", &agent, &agent.client_secret).await;
    for _ in 0..2 {
        assert_eq!(granted().await.status, 200);
    }
    granted().await.expect_error(429, "too_many_requests");
}

/// I6
#[tokio::test]
async fn who_guesses_a_clients_secret_is_locked_out_and_nobody_else() {
    let (builder, clock) = fixed();
    let issuer = builder
        .with("FAILURE_LIMIT", "5")
        .with("TRUSTED_PROXIES", "127.0.0.1")
        .start()
        .await;
    let agent = issuer.agent(&["read"]).await;
    let other = issuer.agent(&["read"]).await;
    for guess in 0..5 {
        token_from(&issuer, "203.0.113.1", &agent, &format!("wrong {guess}"))
            .await
            .expect_error(401, "invalid_client");
    }
    let locked = token_from(&issuer, "203.0.113.1", &agent, &agent.client_secret).await;
    locked.expect_error(429, "too_many_requests");
    assert_eq!(locked.header("retry-after"), "30");
    assert_eq!(
        token_from(&issuer, "203.0.113.2", &agent, &agent.client_secret)
            .await
            .status,
        200
    );
    assert_eq!(
        token_from(&issuer, "203.0.113.1", &other, &other.client_secret)
            .await
            .status,
        200
    );
    clock.advance(Duration::from_secs(30));
    assert_eq!(
        token_from(&issuer, "203.0.113.1", &agent, &agent.client_secret)
            .await
            .status,
        200
    );
    let metrics = Answer::to(
        issuer
            .request(Method::GET, "/metrics")
            .header("accept", "text/plain"),
    )
    .await;
    assert!(
        metrics.text.contains("machineauth_lockouts_total 1"),
        "{}",
        metrics.text
    );
}

/// I6
#[tokio::test]
async fn a_secret_presented_in_both_ways_is_one_guess() {
    let (builder, _clock) = fixed();
    let issuer = builder.with("FAILURE_LIMIT", "3").start().await;
    let agent = issuer.agent(&["read"]).await;
    for guess in 0..3 {
        let secret = format!("wrong-{guess}");
        let basic = issuer
            .request(Method::POST, "/oauth/token")
            .basic_auth(&agent.client_id, Some(&secret))
            .form(&[("grant_type", "client_credentials")]);
        Answer::to(basic).await.expect_error(401, "invalid_client");
        let body = token_from(&issuer, "", &agent, &secret).await;
        // The third pair is the last guess; its second half is no guess, and comes too late.
        let status = if guess < 2 { 401 } else { 429 };
        assert_eq!(body.status, status, "{guess}: {}", body.text);
    }
}

/// I6
#[tokio::test]
async fn many_invented_clients_from_one_address_lock_that_address_out() {
    let (builder, _clock) = fixed();
    let issuer = builder
        .with("FAILURE_LIMIT", "2")
        .with("TRUSTED_PROXIES", "127.0.0.0/8")
        .start()
        .await;
    let real = issuer.agent(&["read"]).await;
    for _ in 0..20 {
        let invented = Agent {
            client_id: machineauth_issuer::domain::id::ClientId::random().to_string(),
            ..real.clone()
        };
        token_from(&issuer, "2001:db8::1", &invented, "wrong")
            .await
            .expect_error(401, "invalid_client");
    }
    // A /64 is one machine's to choose from.
    token_from(&issuer, "2001:db8::2", &real, &real.client_secret)
        .await
        .expect_error(429, "too_many_requests");
    assert_eq!(
        token_from(&issuer, "2001:db8:0:1::2", &real, &real.client_secret)
            .await
            .status,
        200
    );
}

/// I6
#[tokio::test]
async fn guessing_the_administrators_password_or_api_keys_locks_out_too() {
    let (builder, _clock) = fixed();
    let issuer = builder.with("FAILURE_LIMIT", "3").start().await;
    for guess in 0..3 {
        let login = json!({ "email": ADMIN.0, "password": format!("wrong {guess}") });
        let answer = Answer::to(issuer.request(Method::POST, "/api/auth/login").json(&login)).await;
        answer.expect_error(401, "unauthorized");
    }
    let right = json!({ "email": ADMIN.0, "password": ADMIN.1 });
    Answer::to(issuer.request(Method::POST, "/api/auth/login").json(&right))
        .await
        .expect_error(429, "too_many_requests");
    issuer
        .admin(Method::GET, "/api/agents", None)
        .await
        .expect_error(429, "too_many_requests");
    for guess in 0..3 {
        let key = format!("mach_{guess}");
        issuer
            .bearer(&key, Method::GET, "/api/agents", None)
            .await
            .expect_error(401, "unauthorized");
    }
    for path in ["/api/agents", "/api/verify"] {
        issuer
            .bearer("mach_x", Method::GET, path, None)
            .await
            .expect_error(429, "too_many_requests");
    }
}

/// I6
#[tokio::test(flavor = "multi_thread")]
async fn no_more_secrets_are_looked_at_than_may_fail_however_many_come_at_once() {
    let (builder, clock) = fixed();
    let redis = RedisServer::start().await;
    let store = RedisStore::connect(&redis.url(), Arc::new(clock.clone()))
        .await
        .unwrap();
    let issuer = builder
        .store(Arc::new(store))
        .with("FAILURE_LIMIT", "5")
        .start()
        .await;
    let agent = issuer.agent(&["read"]).await;
    let login = async |guess: usize| {
        let login = json!({ "email": ADMIN.0, "password": format!("wrong {guess}") });
        Answer::to(issuer.request(Method::POST, "/api/auth/login").json(&login)).await
    };
    let client =
        async |guess: usize| token_from(&issuer, "", &agent, &format!("wrong {guess}")).await;
    let judged = |answers: Vec<Answer>| {
        let judged = answers.iter().filter(|answer| answer.status == 401);
        let judged = judged.count();
        let limited = answers.iter().filter(|answer| answer.status == 429);
        assert_eq!(judged + limited.count(), answers.len());
        judged
    };
    assert_eq!(judged(join_all((0..200).map(login)).await), 5);
    assert_eq!(judged(join_all((0..200).map(client)).await), 5);
    clock.advance(Duration::from_secs(30));
    assert_eq!(judged(join_all((200..400).map(client)).await), 1);
}

/// I6
#[tokio::test(flavor = "multi_thread")]
async fn a_client_with_many_requests_at_once_is_not_taken_for_many_guesses() {
    let (builder, _clock) = fixed();
    let issuer = builder.with("FAILURE_LIMIT", "2").start().await;
    let agent = issuer.agent(&["read"]).await;
    for _ in 0..2 {
        let requests = (0..50).map(|_| token_from(&issuer, "", &agent, &agent.client_secret));
        let answers = join_all(requests).await;
        assert!(answers.iter().all(|answer| answer.status == 200));
    }
}

#[tokio::test]
async fn an_api_key_has_the_rate_of_a_client() {
    let (builder, clock) = fixed();
    let issuer = builder.with("RATE_LIMIT_PER_CLIENT", "1").start().await;
    let organization = issuer.organization("acme").await;
    let key = issuer.api_key(&organization, json!({ "name": "k" })).await;
    let list = async || issuer.bearer(&key, Method::GET, "/api/agents", None).await;
    for _ in 0..2 {
        assert_eq!(list().await.status, 200);
    }
    list().await.expect_error(429, "too_many_requests");
    clock.advance(Duration::from_secs(1));
    assert_eq!(list().await.status, 200);
}

/// I7
#[tokio::test]
async fn what_a_trusted_proxy_says_counts_in_every_form_that_proxies_use() {
    for line in [
        &b"198.51.100.1, 203.0.113.1"[..],
        b"203.0.113.1:4711",
        b"\xe4, 203.0.113.1",
    ] {
        let (builder, _clock) = fixed();
        let issuer = builder
            .with("FAILURE_LIMIT", "1")
            .with("TRUSTED_PROXIES", "127.0.0.1")
            .start()
            .await;
        let agent = issuer.agent(&["read"]).await;
        let value = HeaderValue::from_bytes(line).unwrap();
        let form = agent.form(&[("grant_type", "client_credentials")]);
        let guess = token_from(&issuer, "203.0.113.1", &agent, "wrong").await;
        guess.expect_error(401, "invalid_client");
        let request = issuer.request(Method::POST, "/oauth/token").form(&form);
        let limited = Answer::to(request.header("x-forwarded-for", value)).await;
        limited.expect_error(429, "too_many_requests");
        let granted = token_from(&issuer, "203.0.113.2", &agent, &agent.client_secret).await;
        assert_eq!(granted.status, 200);
    }
}

/// I7
#[tokio::test]
async fn what_a_stranger_says_about_its_address_does_not_count() {
    let (builder, _clock) = fixed();
    let issuer = builder.with("FAILURE_LIMIT", "2").start().await;
    let agent = issuer.agent(&["read"]).await;
    for guess in 0..2 {
        token_from(
            &issuer,
            &format!("203.0.113.{guess}"),
            &agent,
            &format!("wrong {guess}"),
        )
        .await;
    }
    token_from(&issuer, "203.0.113.9", &agent, &agent.client_secret)
        .await
        .expect_error(429, "too_many_requests");
}

#[tokio::test]
async fn an_address_and_a_client_have_a_rate() {
    let (builder, clock) = fixed();
    let issuer = builder
        .with("RATE_LIMIT_PER_ADDRESS", "5")
        .with("TRUSTED_PROXIES", "127.0.0.1")
        .start()
        .await;
    let from = async |address: &str| {
        Answer::to(
            issuer
                .request(Method::GET, "/health")
                .header("x-forwarded-for", address),
        )
        .await
    };
    for left in (0..10).rev() {
        let answer = from("203.0.113.1").await;
        assert_eq!(answer.status, 200);
        assert_eq!(answer.header("ratelimit-policy"), "\"address\";q=10;w=2");
        assert!(
            answer
                .header("ratelimit")
                .starts_with(&format!("\"address\";r={left};t="))
        );
    }
    let limited = from("203.0.113.1").await;
    limited.expect_error(429, "too_many_requests");
    assert_eq!(limited.header("retry-after"), "1");
    assert_eq!(limited.header("ratelimit"), "\"address\";r=0;t=1");
    assert_eq!(from("203.0.113.2").await.status, 200);
    clock.advance(Duration::from_millis(200));
    assert_eq!(from("203.0.113.1").await.status, 200);

    let (builder, _clock) = fixed();
    let issuer = builder.with("RATE_LIMIT_PER_CLIENT", "1").start().await;
    let (agent, other) = (issuer.agent(&["read"]).await, issuer.agent(&["read"]).await);
    for _ in 0..2 {
        assert_eq!(issuer.token_answer(&agent).await.status, 200);
    }
    issuer
        .token_answer(&agent)
        .await
        .expect_error(429, "too_many_requests");
    assert_eq!(issuer.token_answer(&other).await.status, 200);
}

#[tokio::test]
async fn every_answer_has_a_request_id_and_says_what_browsers_may_do_with_it() {
    let issuer = Issuer::builder()
        .with("TRUSTED_PROXIES", "127.0.0.1")
        .start()
        .await;
    for (method, path) in [
        (Method::GET, "/"),
        (Method::GET, "/nowhere"),
        (Method::PUT, "/oauth/token"),
        (Method::POST, "/oauth/token"),
        (Method::GET, "/api/agents"),
        (Method::GET, "/.well-known/jwks.json"),
    ] {
        let answer = Answer::to(issuer.request(method, path)).await;
        assert_eq!(answer.header("x-content-type-options"), "nosniff", "{path}");
        assert_eq!(answer.header("referrer-policy"), "no-referrer", "{path}");
        assert!(
            answer
                .header("content-security-policy")
                .contains("frame-ancestors 'none'"),
            "{path}"
        );
        assert_eq!(answer.header("x-request-id").len(), 24, "{path}");
    }
    let with_id = async |id: &str| {
        let request = issuer.request(Method::GET, "/").header("x-request-id", id);
        Answer::to(request).await.header("x-request-id").to_owned()
    };
    assert_eq!(with_id("trace-1.2_3").await, "trace-1.2_3");
    for made_up in ["a b", "a\"b", &"x".repeat(129)] {
        assert_ne!(with_id(made_up).await, made_up);
    }
    let of_a_stranger = Issuer::start().await;
    let request = of_a_stranger
        .request(Method::GET, "/")
        .header("x-request-id", "mine");
    assert_ne!(Answer::to(request).await.header("x-request-id"), "mine");
}

#[tokio::test]
async fn pages_of_allowed_origins_may_call_and_no_others() {
    let issuer = Issuer::builder()
        .with("ALLOWED_ORIGINS", "https://app.example.com")
        .start()
        .await;
    let organization = issuer.organization("acme").await;
    let own = format!("/api/organizations/{organization}");
    let change = json!({ "allowed_origins": "https://acme.example.com" });
    issuer.admin(Method::PATCH, &own, Some(change)).await;
    let preflight = async |path: &str, origin: &str| {
        let request = issuer
            .request(Method::OPTIONS, path)
            .header("origin", origin)
            .header("access-control-request-method", "PATCH")
            .header("access-control-request-headers", "authorization");
        Answer::to(request).await
    };
    let teams = format!("{own}/teams");
    for (path, origin, is_allowed) in [
        ("/api/agents", "https://app.example.com", true),
        ("/oauth/token", "https://app.example.com", true),
        ("/api/agents", "https://acme.example.com", false),
        (&own, "https://acme.example.com", true),
        (&teams, "https://acme.example.com", true),
        (&own, "https://app.example.com", true),
        (&own, "https://evil.example.com", false),
        (&own, "https://app.example.com.evil.example", false),
        (&own, "null", false),
        (
            "/api/organizations/00000000-0000-4000-8000-000000000000",
            "https://acme.example.com",
            false,
        ),
    ] {
        let answer = preflight(path, origin).await;
        assert_eq!(answer.status, 200, "{path} {origin}");
        let expected = if is_allowed { origin } else { "" };
        assert_eq!(
            answer.header("access-control-allow-origin"),
            expected,
            "{path} {origin}"
        );
        assert_eq!(answer.header("access-control-allow-credentials"), "");
        assert!(answer.header("vary").to_lowercase().contains("origin"));
        let request = issuer.request(Method::GET, path).header("origin", origin);
        let answer = Answer::to(request).await;
        assert_eq!(
            answer.header("access-control-allow-origin"),
            expected,
            "{path} {origin}"
        );
    }
    let default = Issuer::start().await;
    let request = default
        .request(Method::GET, "/")
        .header("origin", "http://localhost:3000");
    assert_eq!(
        Answer::to(request)
            .await
            .header("access-control-allow-origin"),
        "http://localhost:3000"
    );
}

#[tokio::test]
async fn without_tls_nothing_but_health_is_answered_where_it_is_required() {
    let issuer = Issuer::builder()
        .with("REQUIRE_HTTPS", "true")
        .with("TRUSTED_PROXIES", "127.0.0.1")
        .start()
        .await;
    for path in ["/", "/api/agents", "/.well-known/jwks.json"] {
        issuer.get(path).await.expect_error(403, "https_required");
    }
    assert_eq!(issuer.get("/health").await.status, 200);
    assert_eq!(issuer.get("/health/ready").await.status, 200);
    let by = async |scheme: &str| {
        Answer::to(
            issuer
                .request(Method::GET, "/")
                .header("x-forwarded-proto", scheme),
        )
        .await
    };
    let secure = by("https").await;
    assert_eq!(secure.status, 200);
    assert!(
        secure
            .header("strict-transport-security")
            .contains("max-age=")
    );
    assert_eq!(by("http").await.status, 403);
    let of_strangers = Issuer::builder()
        .with("REQUIRE_HTTPS", "true")
        .start()
        .await;
    let request = of_strangers
        .request(Method::GET, "/")
        .header("x-forwarded-proto", "https");
    assert_eq!(Answer::to(request).await.status, 403);
}
