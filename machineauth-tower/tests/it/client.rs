//! The layer around an HTTP client: which token is sent when, and what happens when it is refused.

use std::convert::Infallible;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response, StatusCode};
use http_body_util::{BodyExt as _, Full};
use machineauth_core::client::{TokenError, TokenErrorKind};
use machineauth_core::test_kit::{Endpoint, Fault, MockIssuer};
use machineauth_tower::ClientCredentialsLayer;
use tower::{BoxError, ServiceBuilder, ServiceExt as _, service_fn};

type Body = Full<Bytes>;

/// A server that notes what it is sent, and answers what it was told to.
#[derive(Clone, Default)]
struct Api(Arc<Mutex<Seen>>);

#[derive(Default)]
struct Seen {
    tokens: Vec<Option<String>>,
    bodies: Vec<Bytes>,
    answers: Vec<Response<Body>>,
}

impl Api {
    /// Gives these answers, the last one first, and then 200.
    fn answers(&self, answers: impl IntoIterator<Item = Response<Body>>) {
        self.0.lock().unwrap().answers.extend(answers);
    }

    fn tokens(&self) -> Vec<Option<String>> {
        self.0.lock().unwrap().tokens.clone()
    }

    async fn call(self, request: Request<Body>) -> Result<Response<Body>, Infallible> {
        let (head, body) = request.into_parts();
        let body = body.collect().await?.to_bytes();
        let mut seen = self.0.lock().unwrap();
        let sent = head.headers.get("authorization");
        let token = sent.map(|value| value.to_str().unwrap().to_owned());
        seen.tokens.push(token);
        seen.bodies.push(body);
        Ok(seen.answers.pop().unwrap_or_default())
    }
}

fn answer(status: u16) -> Response<Body> {
    let mut response = Response::default();
    *response.status_mut() = StatusCode::from_u16(status).unwrap();
    response
}

fn get(url: &str) -> Request<Body> {
    Request::get(url).body(Body::default()).unwrap()
}

async fn send<R>(
    layer: &ClientCredentialsLayer<R>,
    api: &Api,
    request: Request<Body>,
) -> Result<Response<Body>, BoxError>
where
    R: machineauth_tower::client::Resend<Body> + Clone,
{
    let api = api.clone();
    let client = service_fn(move |request| api.clone().call(request));
    let client = ServiceBuilder::new().layer(layer.clone()).service(client);
    client.oneshot(request).await
}

#[tokio::test]
async fn every_request_carries_the_token_in_place_of_what_it_had() {
    let issuer = MockIssuer::start().await.unwrap();
    let (layer, api) = (
        ClientCredentialsLayer::new(issuer.client_credentials()),
        Api::default(),
    );
    for _ in 0..3 {
        let mut request = get("https://api.example/x");
        let headers = request.headers_mut();
        headers.insert("authorization", "Bearer somebody-else".parse().unwrap());
        assert_eq!(send(&layer, &api, request).await.unwrap().status(), 200);
    }
    let tokens = api.tokens();
    assert!(tokens[0].as_ref().unwrap().starts_with("Bearer ey"));
    assert!(tokens.iter().all(|token| *token == tokens[0]));
    assert_eq!(issuer.requests(Endpoint::Token), 1);
}

#[tokio::test]
async fn a_refused_token_is_replaced_and_the_request_sent_once_more() {
    let issuer = MockIssuer::start().await.unwrap();
    let (layer, api) = (
        ClientCredentialsLayer::new(issuer.client_credentials()),
        Api::default(),
    );
    api.answers([answer(401)]);
    let response = send(&layer, &api, get("/")).await.unwrap();
    assert_eq!(response.status(), 200);
    let tokens = api.tokens();
    assert_eq!(tokens.len(), 2);
    assert_ne!(tokens[0], tokens[1]);

    let mut unauthenticated = answer(200);
    let headers = unauthenticated.headers_mut();
    headers.insert("grpc-status", "16".parse().unwrap());
    api.answers([unauthenticated]);
    issuer.clock().advance(Duration::from_secs(10));
    send(&layer, &api, get("/")).await.unwrap();
    assert_eq!(issuer.requests(Endpoint::Token), 3, "so does gRPC say it");
}

#[tokio::test]
async fn a_server_that_refuses_everything_is_believed_after_one_more_try() {
    let issuer = MockIssuer::start().await.unwrap();
    let (layer, api) = (
        ClientCredentialsLayer::new(issuer.client_credentials()),
        Api::default(),
    );
    api.answers((0..40).map(|_| answer(401)));
    for _ in 0..20 {
        let response = send(&layer, &api, get("/")).await.unwrap();
        assert_eq!(response.status(), 401);
    }
    assert_eq!(issuer.requests(Endpoint::Token), 2, "the issuer is spared");
    assert_eq!(api.tokens().len(), 21);
}

#[tokio::test]
async fn a_body_is_sent_again_only_where_that_was_asked_for() {
    let issuer = MockIssuer::start().await.unwrap();
    let layer = ClientCredentialsLayer::new(issuer.client_credentials());
    let post = || Request::post("/").body(Body::from("the body")).unwrap();

    let api = Api::default();
    api.answers([answer(401)]);
    let response = send(&layer, &api, post()).await.unwrap();
    assert_eq!(response.status(), 401, "not this one");
    let response = send(&layer, &api, post()).await.unwrap();
    assert_eq!(response.status(), 200, "but the next has another token");
    let tokens = api.tokens();
    assert_ne!(tokens[0], tokens[1]);

    issuer.clock().advance(Duration::from_secs(10));
    let api = Api::default();
    api.answers([answer(401)]);
    let response = send(&layer.clone_bodies(), &api, post()).await.unwrap();
    assert_eq!(response.status(), 200);
    assert_eq!(api.0.lock().unwrap().bodies, ["the body", "the body"]);
}

#[tokio::test]
async fn other_answers_are_the_callers() {
    let issuer = MockIssuer::start().await.unwrap();
    let (layer, api) = (
        ClientCredentialsLayer::new(issuer.client_credentials()),
        Api::default(),
    );
    for status in [403, 429, 503] {
        let mut busy = answer(status);
        busy.headers_mut().insert("retry-after", 7.into());
        api.answers([busy]);
        let response = send(&layer, &api, get("/")).await.unwrap();
        assert_eq!(response.status(), status);
        assert_eq!(response.headers()["retry-after"], "7");
    }
    assert_eq!(api.tokens().len(), 3);
    assert_eq!(issuer.requests(Endpoint::Token), 1);
}

#[tokio::test]
async fn without_a_token_nothing_is_sent_and_the_error_says_why() {
    let issuer = MockIssuer::start().await.unwrap();
    let layer = ClientCredentialsLayer::new(issuer.client_credentials());
    let api = Api::default();
    let pause = Duration::from_secs(30);
    issuer.fail(Endpoint::Token, Fault::TooManyRequests(pause));
    for _ in 0..3 {
        let error = send(&layer, &api, get("/")).await.unwrap_err();
        let error = error.downcast_ref::<TokenError>().unwrap();
        assert_eq!(error.kind(), TokenErrorKind::Unavailable);
        assert_eq!(error.asked_pause(), Some(pause));
    }
    assert_eq!(issuer.requests(Endpoint::Token), 1);
    assert!(api.tokens().is_empty());
}

#[tokio::test]
async fn a_token_goes_only_where_it_is_for() {
    let issuer = MockIssuer::start().await.unwrap();
    let layer = ClientCredentialsLayer::new(issuer.client_credentials())
        .only_to("https://api.example")
        .unwrap()
        .only_to("http://127.0.0.1:3000")
        .unwrap();
    let api = Api::default();
    let right = ["https://api.example/a", "http://127.0.0.1:3000/", "/grpc"];
    let wrong = [
        "http://api.example/a",
        "https://api.example:8443/",
        "https://api.example.evil.example/",
        "http://127.0.0.1:3001/",
    ];
    for url in right.iter().chain(&wrong) {
        send(&layer, &api, get(url)).await.unwrap();
    }
    let with_token: Vec<_> = api.tokens().iter().map(Option::is_some).collect();
    let expected = [vec![true; right.len()], vec![false; wrong.len()]].concat();
    assert_eq!(with_token, expected);
}
