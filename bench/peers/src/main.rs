//! The same route behind each resource-server library for Rust, in one run: `GET /artifacts`, for tokens (RS256, `at+jwt`)
//! that have the scope `artifacts:read`. All in one process, on one thread, without a network; keys are known at the start.
//!
//! Each library is used as its documentation shows, and each answers the same: 200 with the scope, 401 without a token, 403
//! without the scope; that is checked before anything is measured. Rounds alternate, medians count.

mod peers;

use std::hint::black_box;
use std::marker::PhantomData;
use std::time::Instant;

use axum::body::Body;
use http::header::AUTHORIZATION;
use http::{HeaderValue, Request, Response, StatusCode};
use machineauth_core::jws::{Type, sign_compact};
use machineauth_core::{Algorithm, Clock as _, KeySet, SigningKey, SystemClock};
use serde_json::json;
use tower::{Service, ServiceExt as _};

const ROUNDS: usize = 7;
/// One round takes some tenths of a second of each.
const FEW_REQUESTS: usize = 3_000;
const MANY_REQUESTS: usize = 200_000;
const TOKENS: usize = 1_000;
const ISSUER: &str = "https://issuer.example";
const AUDIENCE: &str = "api";
const SCOPE: &str = "artifacts:read";

type Failure = Box<dyn std::error::Error + Send + Sync>;

/// What callers send.
struct Callers {
    good: Vec<HeaderValue>,
    without_scope: HeaderValue,
}

/// One way to protect the route, and how long its requests took in each round, in nanoseconds.
struct Candidate {
    name: &'static str,
    requests: usize,
    run: Box<dyn Run>,
    rounds: Vec<f64>,
}

/// A service of whatever body, told to answer.
trait Run {
    fn status(&mut self, authorization: Option<&HeaderValue>) -> StatusCode;
    fn nanoseconds(&mut self, callers: &[HeaderValue], requests: usize) -> f64;
}

struct Stack<S, ReqBody> {
    service: S,
    runtime: tokio::runtime::Runtime,
    body: PhantomData<ReqBody>,
}

impl<S, ReqBody, ResBody> Run for Stack<S, ReqBody>
where
    S: Service<Request<ReqBody>, Response = Response<ResBody>> + Clone,
    S::Error: std::fmt::Debug,
    ReqBody: Default,
{
    fn status(&mut self, authorization: Option<&HeaderValue>) -> StatusCode {
        let mut request = Request::new(ReqBody::default());
        *request.uri_mut() = http::Uri::from_static("/artifacts");
        if let Some(value) = authorization {
            request.headers_mut().insert(AUTHORIZATION, value.clone());
        }
        let answer = self.runtime.block_on(self.service.clone().oneshot(request));
        answer.expect("routers do not fail").status()
    }

    fn nanoseconds(&mut self, callers: &[HeaderValue], requests: usize) -> f64 {
        let service = &mut self.service;
        self.runtime.block_on(async {
            let started = Instant::now();
            for value in callers.iter().cycle().take(requests) {
                let mut request = Request::new(ReqBody::default());
                *request.uri_mut() = http::Uri::from_static("/artifacts");
                request.headers_mut().insert(AUTHORIZATION, value.clone());
                let ready = service.ready().await.expect("routers do not fail");
                let answer = ready.call(request).await.expect("routers do not fail");
                assert_eq!(black_box(answer).status(), StatusCode::OK);
            }
            started.elapsed().as_secs_f64() * 1e9 / requests as f64
        })
    }
}

impl Candidate {
    fn new<ReqBody, S, ResBody>(name: &'static str, requests: usize, service: S) -> Self
    where
        S: Service<Request<ReqBody>, Response = Response<ResBody>> + Clone + 'static,
        S::Error: std::fmt::Debug,
        ReqBody: Default + 'static,
        ResBody: 'static,
    {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build();
        let runtime = runtime.expect("a runtime starts");
        Self {
            name,
            requests,
            run: Box::new(Stack {
                service,
                runtime,
                body: PhantomData,
            }),
            rounds: Vec::new(),
        }
    }

    /// Who does not tell these apart does not do the work that is measured.
    fn check(&mut self, callers: &Callers) {
        assert_eq!(
            self.run.status(Some(&callers.good[0])),
            200,
            "{}",
            self.name
        );
        if self.name != BARE {
            assert_eq!(self.run.status(None), 401, "{}", self.name);
            assert_eq!(
                self.run.status(Some(&callers.without_scope)),
                403,
                "{}",
                self.name
            );
        }
    }

    fn median(&mut self) -> f64 {
        self.rounds.sort_by(f64::total_cmp);
        self.rounds[self.rounds.len() / 2]
    }
}

const BARE: &str = "the bare route (axum 0.8)";

fn main() -> Result<(), Failure> {
    let key = SigningKey::generate(Algorithm::RS256)?;
    let keys = KeySet::from_jwks([key.public_jwk("key-1")]);
    let callers = callers(&key)?;
    let jwks = keys.to_json();
    // Peers that need a runtime to be made.
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let mut candidates = runtime.block_on(async {
        Ok::<_, Failure>([
            Candidate::new::<Body, _, _>(BARE, MANY_REQUESTS, peers::bare()),
            Candidate::new::<Body, _, _>("machineauth-tower", MANY_REQUESTS, peers::ours(&keys)?),
            Candidate::new::<axum07::body::Body, _, _>(
                "jwt-authorizer (axum 0.7)",
                FEW_REQUESTS,
                peers::jwt_authorizer(&jwks).await?,
            ),
            Candidate::new::<Body, _, _>(
                "tower-oauth2-resource-server",
                FEW_REQUESTS,
                peers::tower_oauth2_resource_server(&jwks).await?,
            ),
            Candidate::new::<Body, _, _>(
                "axum-jwt-auth",
                FEW_REQUESTS,
                peers::axum_jwt_auth(&jwks)?,
            ),
            Candidate::new::<Body, _, _>(
                "huskarl-axum",
                FEW_REQUESTS,
                peers::huskarl(&jwks).await?,
            ),
        ])
    })?;
    for candidate in &mut candidates {
        candidate.check(&callers);
    }
    for _ in 0..ROUNDS {
        for candidate in &mut candidates {
            let time = candidate.run.nanoseconds(&callers.good, candidate.requests);
            candidate.rounds.push(time);
        }
    }

    let (bare, ours) = (candidates[0].median(), candidates[1].median());
    println!("medians of {ROUNDS} alternated rounds, {TOKENS} tokens in turn, one thread");
    println!(
        "{:<32} {:>12} {:>10} {:>10}",
        "", "µs/request", "/ bare", "/ ours"
    );
    for candidate in &mut candidates {
        let time = candidate.median();
        let (micros, to_bare, to_ours) = (time / 1e3, time / bare, time / ours);
        println!(
            "{:<32} {micros:>12.2} {to_bare:>9.1}x {to_ours:>9.1}x",
            candidate.name
        );
    }
    Ok(())
}

fn callers(key: &SigningKey) -> Result<Callers, Failure> {
    let now = SystemClock.now().as_secs();
    let caller = |n: usize, scope: &str| {
        let claims = json!({
            "iss": ISSUER, "aud": AUDIENCE, "sub": format!("agent-{n}"), "client_id": format!("agent-{n}"),
            "exp": now + 3600, "iat": now, "nbf": now, "jti": format!("0b5f2f3e-9a52-4a0e-8d29-{n:012}"), "scope": scope,
        });
        let token = sign_compact(
            key,
            Type::AccessToken,
            "key-1",
            claims.to_string().as_bytes(),
        )?;
        Ok::<_, Failure>(HeaderValue::try_from(format!("Bearer {token}"))?)
    };
    Ok(Callers {
        good: (0..TOKENS)
            .map(|n| caller(n, "artifacts:read artifacts:write"))
            .collect::<Result<_, _>>()?,
        without_scope: caller(TOKENS, "artifacts:list")?,
    })
}
