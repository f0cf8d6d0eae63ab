//! An issuer in this process, on a real socket.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;

use machineauth_core::clock::{Clock, ManualClock, SystemClock, Timestamp};
use machineauth_issuer::app::{App, Background};
use machineauth_issuer::config::Config;
use machineauth_issuer::domain::vault::ServerKey;
use machineauth_issuer::server::Limits;
use machineauth_issuer::store::{DynStore, MemoryStore};
use machineauth_issuer::{routes, server};
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

use crate::agent::Agent;
use crate::captured;
use crate::certificate::{Pair, TlsFiles};
use crate::description::Watch;
use crate::http::{self, Answer};

/// The administrator of every issuer here.
pub const ADMIN: (&str, &str) = ("admin@example.com", "changeme");
/// The server key of every issuer here, so that several can share a store.
pub const SERVER_KEY: &str = "8d1f0c4b6a2e9375d8c1b0a4f3e2d1c00f1e2d3c4b5a69788796a5b4c3d2e1f0";

/// A running issuer.
#[derive(Debug)]
pub struct Issuer {
    /// Its URL, which is its `iss` unless the test says otherwise.
    pub base: String,
    /// Where it listens.
    pub address: SocketAddr,
    /// Its inside, for what HTTP cannot do.
    pub app: App,
    client: reqwest::Client,
    running: Running,
    _watch: Watch,
}

#[derive(Debug)]
struct Running {
    stop: oneshot::Sender<()>,
    server: JoinHandle<()>,
    background: Background,
}

/// What an issuer is started with.
#[derive(Debug)]
pub struct Builder {
    variables: BTreeMap<String, String>,
    clock: Arc<dyn Clock>,
    store: Option<DynStore>,
    address: SocketAddr,
    limits: Limits,
    client: reqwest::Client,
}

impl Builder {
    /// Sets a variable of the configuration.
    #[must_use]
    pub fn with(mut self, name: &str, value: &str) -> Self {
        self.variables.insert(name.to_owned(), value.to_owned());
        self
    }

    /// Uses this clock instead of the real one.
    #[must_use]
    pub fn clock(mut self, clock: &ManualClock) -> Self {
        self.clock = Arc::new(clock.clone());
        self
    }

    /// Uses this store instead of one in memory.
    #[must_use]
    pub fn store(mut self, store: DynStore) -> Self {
        self.store = Some(store);
        self
    }

    /// Listens here, where an issuer that has stopped listened, instead of on a free port.
    #[must_use]
    pub fn listen(mut self, address: SocketAddr) -> Self {
        self.address = address;
        self
    }

    /// Lets clients keep the server waiting this long instead of the usual time.
    #[must_use]
    pub fn limits(mut self, limits: Limits) -> Self {
        self.limits = limits;
        self
    }

    /// Speaks TLS with what `files` hold. Who calls it through [`Issuer`] trusts nothing but `trusted`.
    ///
    /// # Panics
    /// When the TLS library cannot start.
    #[must_use]
    pub fn tls(mut self, files: &TlsFiles, trusted: &[&Pair]) -> Self {
        self.client = http::builder(trusted)
            .build()
            .expect("the client has no unusual settings");
        self.with("TLS_CERT_FILE", &files.certificate().to_string_lossy())
            .with("TLS_KEY_FILE", &files.key().to_string_lossy())
    }

    /// Starts the issuer.
    ///
    /// # Panics
    /// When it does not start.
    pub async fn start(mut self) -> Issuer {
        captured::logs();
        let listener = TcpListener::bind(self.address)
            .await
            .expect("the address can be listened on");
        let address = listener
            .local_addr()
            .expect("a bound socket has an address");
        let scheme = match self.variables.contains_key("TLS_CERT_FILE") {
            true => "https",
            false => "http",
        };
        let base = format!("{scheme}://{address}");
        self.variables
            .entry("JWT_ISSUER".into())
            .or_insert_with(|| base.clone());
        // All tests call from one address, and many present wrong secrets.
        self.variables
            .entry("FAILURE_LIMIT".into())
            .or_insert_with(|| "0".into());
        let config =
            Config::from_variables(self.variables).expect("the test's configuration works");
        let server_key = ServerKey::parse(SERVER_KEY).expect("it is a server key");
        let store = self
            .store
            .unwrap_or_else(|| Arc::new(MemoryStore::new(Arc::clone(&self.clock))));
        let app = App::open(config, &server_key, self.clock, store)
            .await
            .expect("the issuer starts");
        let background = app.start_background();
        let (stop, stopped) = oneshot::channel();
        let watch = Watch::default();
        let router = watch.over(routes::router(app.clone()));
        let certificates = app.certificates.clone();
        let stopped = async {
            let _ = stopped.await;
        };
        let serving = server::serve(listener, certificates, router, self.limits, stopped);
        let server = tokio::spawn(serving);
        Issuer {
            base,
            address,
            app,
            client: self.client,
            running: Running {
                stop,
                server,
                background,
            },
            _watch: watch,
        }
    }
}

impl Issuer {
    /// An issuer with the defaults of development, on the real clock and a store in memory.
    pub fn builder() -> Builder {
        Builder {
            variables: BTreeMap::new(),
            clock: Arc::new(SystemClock),
            store: None,
            address: SocketAddr::from((Ipv4Addr::LOCALHOST, 0)),
            limits: Limits::default(),
            client: http::client(),
        }
    }

    /// Starts an issuer with the defaults.
    pub async fn start() -> Self {
        Self::builder().start().await
    }

    /// Starts an issuer with the defaults, at a time that only the test moves.
    pub async fn at_fixed_time() -> (Self, ManualClock) {
        let clock = ManualClock::new(Timestamp::from_secs(1_800_000_000));
        let issuer = Self::builder().clock(&clock).start().await;
        (issuer, clock)
    }

    /// Stops the issuer: requests in flight finish, the store closes.
    ///
    /// # Panics
    /// When it does not stop cleanly.
    pub async fn stop(self) {
        let Running {
            stop,
            server,
            background,
        } = self.running;
        background.end_streams();
        stop.send(()).expect("the server runs until now");
        server.await.expect("the server ends without a panic");
        background.stop().await.expect("the store closes");
    }

    /// A request to `path`.
    pub fn request(&self, method: reqwest::Method, path: &str) -> reqwest::RequestBuilder {
        self.client.request(method, format!("{}{path}", self.base))
    }

    /// `GET path`
    pub async fn get(&self, path: &str) -> Answer {
        Answer::to(self.request(reqwest::Method::GET, path)).await
    }

    /// `POST path` with a form.
    pub async fn post(&self, path: &str, form: &[(&str, &str)]) -> Answer {
        Answer::to(self.request(reqwest::Method::POST, path).form(form)).await
    }

    /// A request by the administrator, with a JSON body where there is one.
    pub async fn admin(&self, method: reqwest::Method, path: &str, body: Option<Value>) -> Answer {
        let request = self
            .request(method, path)
            .basic_auth(ADMIN.0, Some(ADMIN.1));
        Answer::to(match body {
            Some(body) => request.json(&body),
            None => request,
        })
        .await
    }

    /// A request with a bearer token or an API key, with a JSON body where there is one.
    pub async fn bearer(
        &self,
        token: &str,
        method: reqwest::Method,
        path: &str,
        body: Option<Value>,
    ) -> Answer {
        let request = self.request(method, path).bearer_auth(token);
        Answer::to(match body {
            Some(body) => request.json(&body),
            None => request,
        })
        .await
    }

    /// Creates an organization, and says its identifier.
    ///
    /// # Panics
    /// When it is not created.
    pub async fn organization(&self, slug: &str) -> String {
        let body = json!({ "name": format!("Organization {slug}"), "slug": slug });
        let created = self
            .admin(reqwest::Method::POST, "/api/organizations", Some(body))
            .await;
        assert_eq!(created.status, 201, "{}", created.text);
        created.str("id")
    }

    /// Creates an API key of an organization as `body` describes it, and says its text.
    ///
    /// # Panics
    /// When it is not created.
    pub async fn api_key(&self, organization: &str, body: Value) -> String {
        let path = format!("/api/organizations/{organization}/api-keys");
        let created = self.admin(reqwest::Method::POST, &path, Some(body)).await;
        assert_eq!(created.status, 201, "{}", created.text);
        created.str("key")
    }

    /// Creates an agent with these scopes in an organization.
    ///
    /// # Panics
    /// When it is not created.
    pub async fn agent_in(&self, organization: &str, scopes: &[&str]) -> Agent {
        self.create(json!({
            "name": "test agent",
            "scopes": scopes,
            "organization_id": organization,
        }))
        .await
    }

    /// Creates an agent with these scopes.
    ///
    /// # Panics
    /// When it is not created.
    pub async fn agent(&self, scopes: &[&str]) -> Agent {
        self.create(json!({ "name": "test agent", "scopes": scopes }))
            .await
    }

    /// Creates an agent as `body` describes it.
    ///
    /// # Panics
    /// When it is not created.
    pub async fn create(&self, body: Value) -> Agent {
        let created = self
            .admin(reqwest::Method::POST, "/api/agents", Some(body))
            .await;
        assert_eq!(created.status, 201, "{}", created.text);
        Agent::read(&created)
    }

    /// Asks for a token for `agent`.
    pub async fn token_answer(&self, agent: &Agent) -> Answer {
        self.post(
            "/oauth/token",
            &agent.form(&[("grant_type", "client_credentials")]),
        )
        .await
    }

    /// A token for `agent`: the access token and the refresh token.
    ///
    /// # Panics
    /// When it is not granted.
    pub async fn tokens(&self, agent: &Agent) -> (String, String) {
        let answer = self.token_answer(agent).await;
        assert_eq!(answer.status, 200, "{}", answer.text);
        (answer.str("access_token"), answer.str("refresh_token"))
    }

    /// Redeems a refresh token as `agent`.
    pub async fn refresh(&self, agent: &Agent, refresh_token: &str) -> Answer {
        let form = agent.form(&[
            ("grant_type", "refresh_token"),
            ("refresh_token", refresh_token),
        ]);
        self.post("/oauth/token", &form).await
    }

    /// What introspection says about a token.
    pub async fn introspect(&self, token: &str) -> Value {
        self.post("/oauth/introspect", &[("token", token)])
            .await
            .json()
    }

    /// Revokes a token.
    ///
    /// # Panics
    /// When that is refused.
    pub async fn revoke(&self, token: &str) {
        let answer = self.post("/oauth/revoke", &[("token", token)]).await;
        assert_eq!(
            (answer.status.as_u16(), answer.str("status").as_str()),
            (200, "revoked"),
            "{}",
            answer.text
        );
    }
}
