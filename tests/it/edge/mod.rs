//! The edge, as the real binary between real clients, issuers and upstreams.

mod command_line;
mod example;
mod failures;
mod journey;
mod limits;
mod paths;
mod possession;
mod protocols;
mod reload;
mod silence;
mod smuggling;
mod sockets;

use machineauth_tests::agent::Agent;
use machineauth_tests::edge::Edge;
use machineauth_tests::issuer::Issuer;
use machineauth_tests::upstream::Upstream;

const EDGE: &str = env!("CARGO_BIN_EXE_edge");

/// An issuer, an upstream that says what arrives, and an edge between.
struct Stage {
    issuer: Issuer,
    upstream: Upstream,
    edge: Edge,
}

impl Stage {
    /// With these routes, to the upstream `api`.
    async fn with(routes: &str) -> Self {
        let issuer = Issuer::start().await;
        let upstream = Upstream::echo("api").await;
        let configuration = configuration(&issuer, &upstream, routes);
        let edge = Edge::start(EDGE, &configuration).await;
        Self {
            issuer,
            upstream,
            edge,
        }
    }

    fn configuration(&self, routes: &str) -> String {
        configuration(&self.issuer, &self.upstream, routes)
    }

    async fn token(&self, scopes: &[&str]) -> String {
        self.agent_and_token(scopes).await.1
    }

    async fn agent_and_token(&self, scopes: &[&str]) -> (Agent, String) {
        let agent = self.issuer.agent(scopes).await;
        let (token, _) = self.issuer.tokens(&agent).await;
        (agent, token)
    }
}

fn configuration(issuer: &Issuer, upstream: &Upstream, routes: &str) -> String {
    format!("{}{}{routes}", trusting(&issuer.base), api(upstream))
}

fn trusting(issuer: &str) -> String {
    format!(
        r#"
        [[issuer]]
        url = "{issuer}"
        audience = "machineauth-api"
        revocations = {{}}
        "#
    )
}

fn api(upstream: &Upstream) -> String {
    let address = upstream.address;
    format!(
        r#"
        [[upstream]]
        name = "api"
        servers = ["{address}"]
        "#
    )
}
