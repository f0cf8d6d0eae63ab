//! Who asks the issuer, when requests are on runtimes of their own.

use std::sync::{Arc, Mutex};
use std::thread;

use machineauth_core::JwksCache;
use machineauth_core::introspection::{AnswerForm, AskError, AskFuture, AskIssuer};
use machineauth_core::jwks::{FetchError, FetchFuture, FetchKeys};
use machineauth_pingora::{Background, Home};
use tokio::runtime::{Builder, Runtime};

/// An issuer that notes on which thread it was asked.
#[derive(Clone, Debug, Default)]
struct Asked(Arc<Mutex<Vec<String>>>);

impl Asked {
    fn note(&self) {
        let name = thread::current().name().unwrap_or_default().to_owned();
        self.0.lock().unwrap().push(name);
    }

    fn threads(&self) -> Vec<String> {
        self.0.lock().unwrap().clone()
    }
}

impl FetchKeys for Asked {
    fn fetch(&self) -> FetchFuture<'_> {
        Box::pin(async {
            self.note();
            Err(FetchError::Unreachable)
        })
    }
}

impl AskIssuer for Asked {
    fn ask<'a>(&'a self, _token: &'a str, _form: AnswerForm) -> AskFuture<'a> {
        Box::pin(async {
            self.note();
            Err(AskError::TimedOut)
        })
    }
}

fn runtime(name: &str) -> Runtime {
    let mut builder = Builder::new_multi_thread();
    builder
        .worker_threads(1)
        .thread_name(name)
        .enable_all()
        .build()
        .unwrap()
}

#[test]
fn issuers_are_asked_at_home_whatever_runtime_a_request_is_on() {
    let (own, requests) = (runtime("home"), runtime("requests"));
    let home = own.block_on(async { Home::here() });
    let asked = Asked::default();
    let jwks = JwksCache::new(home.keys(asked.clone()));
    let introspection = home.introspection(asked.clone());
    requests.block_on(async {
        assert!(jwks.load().await.is_err());
        let answer = introspection.ask("token", AnswerForm::Json).await;
        assert_eq!(answer.unwrap_err(), AskError::TimedOut);
    });
    assert_eq!(asked.threads(), ["home", "home"]);
}

#[test]
fn before_there_is_a_home_an_issuer_is_unreachable() {
    let asked = Asked::default();
    let home = Background::default().home();
    let jwks = JwksCache::new(home.keys(asked.clone()));
    let failure = runtime("requests").block_on(async {
        assert!(jwks.load().await.is_err());
        jwks.health().last_failure
    });
    assert_eq!(failure, Some(FetchError::Unreachable));
    assert!(asked.threads().is_empty());
}
