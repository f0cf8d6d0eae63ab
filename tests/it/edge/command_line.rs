//! What operators ask the binary: is this file good, and what would become of that request?

use machineauth_tests::certificate::Pair;
use machineauth_tests::command::{Commands, Ran};
use machineauth_tests::process::free_port;

use super::{EDGE, Stage};

async fn check(configuration: &str) -> Ran {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("edge.toml");
    std::fs::write(&file, configuration).unwrap();
    let line = format!("check {}", file.display());
    Commands::here(EDGE).run(&line).await
}

const GOOD: &str = r#"[[listener]]
address = "127.0.0.1:8000"
[[issuer]]
url = "https://auth.example.com"
audience = "https://api.example.com"
[[upstream]]
name = "api"
servers = ["127.0.0.1:3000"]
[[route]]
upstream = "api"
scopes = "read"
"#;

#[tokio::test]
async fn a_good_file_is_summed_up() {
    let ran = check(GOOD).await;
    assert_eq!(ran.code, 0, "{}", ran.stderr);
    assert!(
        ran.stdout.contains("trusts https://auth.example.com"),
        "{}",
        ran.stdout
    );
}

#[tokio::test]
async fn what_is_wrong_is_named_with_its_line() {
    for (right, wrong, line, what) in [
        (
            "address = \"127.0.0.1:8000\"",
            "address = \"8000\"",
            2,
            "`8000` is no address",
        ),
        (
            "address = \"127.0.0.1:8000\"",
            "addres = \"127.0.0.1:8000\"",
            2,
            "unknown field `addres`",
        ),
        (
            "\"https://auth.example.com\"",
            "\"http://auth.example.com\"",
            3,
            "must be https",
        ),
        (
            "\"https://api.example.com\"",
            "\"\"",
            3,
            "must not be empty",
        ),
        (
            "[\"127.0.0.1:3000\"]",
            "[\"http://127.0.0.1:3000\"]",
            8,
            "without a scheme",
        ),
        ("[\"127.0.0.1:3000\"]", "[]", 6, "`servers` names none"),
        (
            "upstream = \"api\"",
            "upstream = \"other\"",
            10,
            "there is no upstream `other`",
        ),
        ("scopes = \"read\"", "", 9, "who may use this route?"),
        (
            "scopes = \"read\"",
            "scopes = \"read\"\npublic = true",
            9,
            "who may use this route?",
        ),
        (
            "scopes = \"read\"",
            "scopes = \"re\\\"ad\"",
            9,
            "one of its scopes is none",
        ),
        (
            "scopes = \"read\"",
            "policy = \"missing.toml\"",
            11,
            "cannot be read",
        ),
        (
            "scopes = \"read\"",
            "scopes = \"read\"\nper_agent = \"100\"",
            12,
            "is no rate",
        ),
        (
            "scopes = \"read\"",
            "scopes = \"read\"\npath = \"/a/{id}\"",
            12,
            "is no prefix of paths",
        ),
        (
            "scopes = \"read\"",
            "scopes = \"read\"\nhosts = [\"::1\"]",
            12,
            "is no host",
        ),
        (
            "scopes = \"read\"",
            "scopes = \"read\"\ntimeout = 5",
            12,
            "expected a string",
        ),
        (
            "scopes = \"read\"",
            "[[route.rule]]\nmethods = [\"GET\"]\npath = \"/a\"\nscopes = \"a\"\n\
             [[route.rule]]\nmethods = [\"GET\"]\npath = \"/a\"\nscopes = \"b\"",
            15,
            "is for the same requests as rule",
        ),
        (
            "scopes = \"read\"",
            "scopes = \"read\"\n[[route]]\nname = \"twin\"\nupstream = \"api\"\npublic = true",
            12,
            "is for the same host and path",
        ),
    ] {
        assert!(GOOD.contains(right), "{right}");
        let ran = check(&GOOD.replace(right, wrong)).await;
        assert_eq!(ran.code, 2, "{wrong}: {}", ran.stdout);
        assert!(
            ran.stderr.contains(&format!("edge.toml:{line}:")),
            "{wrong}: {}",
            ran.stderr
        );
        assert!(ran.stderr.contains(what), "{wrong}: {}", ran.stderr);
    }
}

#[tokio::test]
async fn a_port_that_is_taken_is_said_before_anything_starts() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("edge.toml");
    std::fs::write(&file, GOOD.replace("127.0.0.1:8000", &address)).unwrap();
    let ran = Commands::here(EDGE)
        .run(&format!("--config {}", file.display()))
        .await;
    assert_eq!(ran.code, 2);
    assert!(
        ran.stderr.contains(&format!("cannot listen on {address}")),
        "{}",
        ran.stderr
    );
}

#[tokio::test]
async fn two_listeners_on_one_address_are_said_before_anything_starts() {
    let address = format!("127.0.0.1:{}", free_port());
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("edge.toml");
    let twice = format!("[[listener]]\naddress = \"{address}\"\n{GOOD}");
    std::fs::write(&file, twice.replace("127.0.0.1:8000", &address)).unwrap();
    let ran = Commands::here(EDGE)
        .run(&format!("--config {}", file.display()))
        .await;
    assert_eq!(ran.code, 2);
    assert!(
        ran.stderr.contains(&format!("cannot listen on {address}")),
        "{}",
        ran.stderr
    );
}

#[tokio::test]
async fn a_file_that_is_named_is_what_it_should_be() {
    let (pair, directory) = (Pair::new(), tempfile::tempdir().unwrap());
    let write = |name: &str, bytes: &[u8]| {
        std::fs::write(directory.path().join(name), bytes).unwrap();
    };
    write("certificate.pem", pair.certificate.as_bytes());
    write("key.pem", pair.key.as_bytes());
    write("policy.toml", b"# \xff\n");
    let half = "-----BEGIN CERTIFICATE-----\n*\n-----END CERTIFICATE-----\n";
    write(
        "clients.pem",
        format!("{}{half}", pair.certificate).as_bytes(),
    );
    let tls = |more: &str| {
        format!(
            "address = \"127.0.0.1:8000\"\ntls = {{ certificate = \"certificate.pem\", key = \"key.pem\"{more} }}"
        )
    };
    let clients = ", client_ca = \"clients.pem\"";
    for (right, wrong, what) in [
        (
            "scopes = \"read\"",
            "policy = \"policy.toml\"",
            Some("is not UTF-8"),
        ),
        ("address = \"127.0.0.1:8000\"", &tls(""), None),
        (
            "address = \"127.0.0.1:8000\"",
            &tls(clients),
            Some("`client_ca` names a file without certificates"),
        ),
    ] {
        write("edge.toml", GOOD.replace(right, wrong).as_bytes());
        let file = directory.path().join("edge.toml");
        let line = format!("check {}", file.display());
        let ran = Commands::here(EDGE).run(&line).await;
        assert_eq!(
            ran.code,
            if what.is_some() { 2 } else { 0 },
            "{}",
            ran.stderr
        );
        assert!(
            ran.stderr.contains(what.unwrap_or_default()),
            "{}",
            ran.stderr
        );
    }
}

/// V7, RFC 7662 §4
#[tokio::test]
async fn an_issuer_is_asked_over_plain_http_only_where_the_file_calls_that_dangerous() {
    let directory = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| std::fs::write(directory.path().join(name), text).unwrap();
    write("secret", "s3cret");
    let asks = "client_id = \"edge\", client_secret_file = \"secret\"";
    for endpoint in [
        "jwks = \"http://auth.example.com/jwks\"".to_owned(),
        format!("introspection = {{ {asks}, endpoint = \"http://auth.example.com/introspect\" }}"),
    ] {
        for (danger, code) in [("", 2), ("danger_allow_plain_http = true\n", 0)] {
            let routes = format!("{endpoint}\n{danger}[[upstream]]");
            write("edge.toml", &GOOD.replace("[[upstream]]", &routes));
            let file = directory.path().join("edge.toml");
            let line = format!("check {}", file.display());
            let ran = Commands::here(EDGE).run(&line).await;
            assert_eq!(ran.code, code, "{endpoint}: {}", ran.stderr);
            let is_said =
                ran.stderr.contains("edge.toml:3:") && ran.stderr.contains("must be https");
            assert_eq!(is_said, code == 2, "{endpoint}: {}", ran.stderr);
        }
    }
}

/// V7
#[tokio::test]
async fn revocations_are_followed_over_plain_http_only_where_the_file_calls_that_dangerous() {
    let keys = "jwks = \"https://auth.example.com/jwks\"\nrevocations = {}";
    for (danger, code) in [("", 2), ("danger_allow_plain_http = true\n", 0)] {
        let text = GOOD
            .replace("https://auth.example.com\"", "http://auth.example.com\"")
            .replace("[[upstream]]", &format!("{keys}\n{danger}[[upstream]]"));
        let ran = check(&text).await;
        assert_eq!(ran.code, code, "{}", ran.stderr);
        let is_said = ran.stderr.contains("edge.toml:3:") && ran.stderr.contains("must be https");
        assert_eq!(is_said, code == 2, "{}", ran.stderr);
    }
}

#[tokio::test]
async fn a_decision_is_explained_with_its_route_its_rule_and_its_reason() {
    let stage = Stage::with(
        r#"
        [[route]]
        path = "/public"
        upstream = "api"
        public = true

        [[route]]
        path = "/v1"
        upstream = "api"
        [[route.rule]]
        name = "read an artifact"
        methods = ["GET"]
        path = "/v1/artifacts/{id}"
        scopes = "read"
        [[route.rule]]
        name = "write an artifact"
        methods = ["PUT"]
        path = "/v1/artifacts/{id}"
        scopes = "write"
        "#,
    )
    .await;
    let (agent, token) = stage.agent_and_token(&["read"]).await;
    let file = stage.edge.file("edge.toml");
    let explain = async |request: &str, token: &str| {
        let line = format!("explain --config {} {request} --token -", file.display());
        let ran = Commands::here(EDGE).piped(&line, token).await;
        assert!(!ran.stdout.contains(token));
        (ran.code, ran.stdout)
    };
    let (code, text) = explain("GET https://api.example.com/v1/artifacts/7", &token).await;
    assert_eq!(code, 0, "{text}");
    for part in ["/v1 and below", "read an artifact", &agent.id, "allowed"] {
        assert!(text.contains(part), "{part}: {text}");
    }
    let (code, text) = explain("PUT /v1/artifacts/7", &token).await;
    assert_eq!(code, 1, "{text}");
    assert!(text.contains("rule      write an artifact"), "{text}");
    assert!(text.contains("refused   403 insufficient_scope"), "{text}");
    let (code, text) = explain("GET /v1/artifacts/7", "a.b.c").await;
    assert_eq!(code, 1, "{text}");
    assert!(text.contains("refused   401 invalid_token"), "{text}");
    let (code, text) = explain("GET /v1/../artifacts", &token).await;
    assert_eq!(code, 1, "{text}");
    assert!(text.contains("refused   400"), "{text}");
    let (code, text) = explain("GET /elsewhere", &token).await;
    assert_eq!(code, 1, "{text}");
    assert!(text.contains("nothing is served here"), "{text}");

    stage.issuer.revoke(&token).await;
    let (code, text) = explain("GET /v1/artifacts/7", &token).await;
    assert_eq!(code, 1, "{text}");
    assert!(text.contains("revoked"), "{text}");

    for path in ["/public/x", "/healthz"] {
        let line = format!("explain --config {} GET {path}", file.display());
        let ran = Commands::here(EDGE).run(&line).await;
        assert_eq!(ran.code, 0, "{}", ran.stdout);
        assert!(
            ran.stdout.contains("no token is looked at"),
            "{}",
            ran.stdout
        );
    }
}
