//! The example MCP server as a process, and a client of it that knows its URL and nothing else (RFC 9728, MCP's
//! authorization).

use std::path::Path;

use machineauth_tests::agent::Agent;
use machineauth_tests::http::{self, Answer};
use machineauth_tests::process::{Process, free_port};
use serde_json::{Value, json};
use tempfile::TempDir;

struct Stage {
    issuer: Process,
    server: Process,
    client: reqwest::Client,
    _directory: TempDir,
}

impl Stage {
    async fn set() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let (port, server_port) = (free_port(), free_port());
        let port_text = port.to_string();
        let variables = [("PORT", port_text.as_str())];
        let program = Path::new(env!("CARGO_BIN_EXE_issuer"));
        let issuer = Process::start(program, directory.path(), port, &variables, &[]).await;
        let listen = format!("127.0.0.1:{server_port}");
        let resource = format!("http://{listen}/mcp");
        let variables = [
            ("ISSUER", issuer.base.as_str()),
            ("LISTEN", &listen),
            ("RESOURCE", &resource),
        ];
        let program = Path::new(env!("CARGO_BIN_EXE_mcp-server"));
        let server = Process::start(program, directory.path(), server_port, &variables, &[]).await;
        Self {
            issuer,
            server,
            client: http::client(),
            _directory: directory,
        }
    }

    fn resource(&self) -> String {
        format!("{}/mcp", self.server.base)
    }

    async fn agent(&self, scopes: &[&str]) -> Agent {
        let request = self.client.post(format!("{}/api/agents", self.issuer.base));
        let request = request.basic_auth("admin@example.com", Some("changeme"));
        let body = json!({ "name": "a", "scopes": scopes, "audiences": [self.resource()] });
        Agent::read(&Answer::to(request.json(&body)).await)
    }

    async fn call(&self, token: Option<&str>, method: &str, params: Value) -> Answer {
        let message = json!({ "jsonrpc": "2.0", "id": 1, "method": method, "params": params });
        let request = self.client.post(self.resource()).json(&message);
        Answer::to(match token {
            Some(token) => request.bearer_auth(token),
            None => request,
        })
        .await
    }

    async fn get(&self, url: &str) -> Value {
        let answer = Answer::to(self.client.get(url)).await;
        assert_eq!(answer.status, 200, "{url}: {}", answer.text);
        answer.json()
    }

    /// As a client does that was refused: challenge, metadata of the resource, metadata of the issuer, token.
    async fn find_token(&self, refused: &Answer, agent: &Agent) -> String {
        let metadata = parameter(refused.header("www-authenticate"), "resource_metadata");
        let metadata = self.get(&metadata).await;
        let resource = metadata["resource"].as_str().unwrap();
        assert_eq!(resource, self.resource());
        assert_eq!(
            metadata["scopes_supported"],
            json!(["notes:read", "notes:write"])
        );
        let issuer = metadata["authorization_servers"][0].as_str().unwrap();
        let place = format!("{issuer}/.well-known/oauth-authorization-server");
        let endpoint = self.get(&place).await["token_endpoint"]
            .as_str()
            .unwrap()
            .to_owned();
        let form = agent.form(&[("grant_type", "client_credentials"), ("resource", resource)]);
        Answer::to(self.client.post(endpoint).form(&form))
            .await
            .str("access_token")
    }
}

fn parameter(challenge: &str, name: &str) -> String {
    let (_, rest) = challenge.split_once(&format!("{name}=\"")).unwrap();
    rest.split_once('"').unwrap().0.to_owned()
}

#[tokio::test]
async fn a_client_that_knows_nothing_but_the_url_finds_its_way_to_a_token() {
    let stage = Stage::set().await;
    let agent = stage.agent(&["notes:read"]).await;
    let refused = stage.call(None, "initialize", json!({})).await;
    assert_eq!(refused.status, 401);
    let token = stage.find_token(&refused, &agent).await;

    let initialized = stage.call(Some(&token), "initialize", json!({})).await;
    assert_eq!(initialized.status, 200, "{}", initialized.text);
    assert_eq!(initialized.json()["result"]["serverInfo"]["name"], "notes");
    let tools = stage
        .call(Some(&token), "tools/list", json!({}))
        .await
        .json();
    assert_eq!(tools["result"]["tools"].as_array().unwrap().len(), 2);
}

#[tokio::test]
async fn a_tool_that_needs_another_scope_says_which_and_where_to_get_it() {
    let stage = Stage::set().await;
    let reader = stage.agent(&["notes:read"]).await;
    let writer = stage.agent(&["notes:read", "notes:write"]).await;
    let refused = stage.call(None, "ping", json!({})).await;
    let token = stage.find_token(&refused, &reader).await;
    let add = json!({ "name": "add_note", "arguments": { "text": "remember" } });
    let list = json!({ "name": "list_notes" });
    assert_eq!(
        stage
            .call(Some(&token), "tools/call", list.clone())
            .await
            .status,
        200
    );

    let refused = stage.call(Some(&token), "tools/call", add.clone()).await;
    assert_eq!(refused.status, 403);
    let challenge = refused.header("www-authenticate");
    assert_eq!(parameter(challenge, "error"), "insufficient_scope");
    assert_eq!(parameter(challenge, "scope"), "notes:write");
    assert_eq!(
        refused.str("message"),
        "the access token lacks the scope `notes:write`"
    );

    let token = stage.find_token(&refused, &writer).await;
    assert_eq!(
        stage.call(Some(&token), "tools/call", add).await.status,
        200
    );
    let notes = stage.call(Some(&token), "tools/call", list).await.json();
    assert_eq!(notes["result"]["content"][0]["text"], "remember");
}

#[tokio::test]
async fn a_token_for_another_resource_is_refused() {
    let stage = Stage::set().await;
    let agent = stage.agent(&["notes:read"]).await;
    let form = agent.form(&[("grant_type", "client_credentials")]);
    let request = stage
        .client
        .post(format!("{}/oauth/token", stage.issuer.base));
    let token = Answer::to(request.form(&form)).await.str("access_token");
    let refused = stage.call(Some(&token), "ping", json!({})).await;
    assert_eq!(refused.status, 401);
    assert_eq!(
        parameter(refused.header("www-authenticate"), "error"),
        "invalid_token"
    );
}
