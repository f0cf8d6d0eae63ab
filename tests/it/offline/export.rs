//! What is exported from one server is the same when it is imported into another.

use std::time::Duration;

use machineauth_core::clock::Timestamp;
use machineauth_core::scope::ScopeSet;
use machineauth_issuer::domain::agent::{
    AgentChange, ForeignId, MachineClient, NewAgent, TokenFormat,
};
use machineauth_issuer::domain::event::By;
use machineauth_issuer::domain::organization::{NewOrganization, OrganizationChange, Plan, Slug};
use machineauth_issuer::domain::webhooks::{Format, NewWebhook, TokenEvents, WebhookChange};
use machineauth_issuer::transfer::Document;
use machineauth_issuer::transfer::export::export;
use machineauth_issuer::transfer::import::import;
use machineauth_issuer::transfer::report::Outcome;
use machineauth_tests::agent::Agent;
use machineauth_tests::installation::Installation;
use machineauth_tests::issuer::Issuer;
use proptest::prelude::*;
use reqwest::Method;
use serde_json::{Map, Value, json};

use super::{PROGRAM, admin, token};

/// What one agent is made from, and where it belongs: to nobody, an organization, or its team.
#[derive(Debug, Clone)]
struct Specimen {
    profile: AgentChange,
    machine: Option<MachineClient>,
    belongs: u8,
    tokens: u8,
}

fn agents() -> impl Strategy<Value = Vec<Specimen>> {
    let text = "[a-zA-Z0-9é\"\\\\ ]{0,20}";
    let name = "[a-zA-Zé\"\\\\]{1,20}";
    let scopes = prop::collection::btree_set("[a-z:]{1,8}", 0..5);
    let json = prop::collection::btree_map("[a-z]{1,6}", any::<i32>(), 0..4);
    let machine = prop::option::of(("[A-Za-z0-9_.:-]{1,10}", any::<bool>()));
    let agent = (
        (name, text, prop::collection::vec(name, 0..3), scopes, json),
        (
            any::<bool>(),
            prop::option::of(1_900_000_000_u64..2_000_000_000),
        ),
        (
            prop::option::of(1_u64..1000),
            any::<bool>(),
            prop::collection::vec("[a-z:/]{1,9}", 0..3),
        ),
        (machine, 0_u8..3, 0_u8..3),
    );
    let agent = agent.prop_map(|(about, state, tokens, (machine, belongs, count))| {
        let (name, description, tags, scopes, json) = about;
        let metadata: Map<String, Value> = json
            .into_iter()
            .map(|(name, value)| (name, value.into()))
            .collect();
        let scopes: Vec<_> = scopes.into_iter().collect();
        let machine = machine.map(|(dock, is_jwt)| MachineClient {
            dock_id: ForeignId::parse(&dock),
            party_id: None,
            token_format: if is_jwt {
                TokenFormat::Jwt
            } else {
                TokenFormat::Opaque
            },
        });
        let claims = metadata
            .iter()
            .map(|(name, value)| (format!("x_{name}"), value.clone()));
        let claims: Map<_, _> = claims.collect();
        Specimen {
            profile: AgentChange {
                name: Some(name),
                description: Some(description),
                tags: Some(tags),
                claims: Some(claims.into()),
                metadata: Some(metadata.into()),
                scopes: Some(ScopeSet::parse(&scopes.join(" ")).unwrap()),
                is_active: Some(state.0),
                expires_at: Some(state.1.map(Timestamp::from_secs)),
                token_lifetime: Some(tokens.0.map(Duration::from_secs)),
                refresh_tokens: Some(tokens.1),
                audiences: Some(tokens.2),
                public_key: None,
            },
            machine: machine.filter(|_| belongs > 0),
            belongs,
            tokens: count,
        }
    });
    prop::collection::vec(agent, 0..12)
}

async fn make(issuer: &Issuer, agents: Vec<Specimen>) {
    let app = &issuer.app;
    let organization = app
        .organizations
        .create(
            NewOrganization {
                name: "Acme \"\u{e9}\"".to_owned(),
                slug: Slug::try_from("acme".to_owned()).unwrap(),
                owner_email: "owner@example.com".to_owned(),
            },
            &By::SYSTEM,
        )
        .await
        .unwrap();
    let change = OrganizationChange {
        issuer: Some(Some(
            "https://acme.example.com".to_owned().try_into().unwrap(),
        )),
        token_lifetime: Some(Some(Duration::from_secs(77))),
        allowed_origins: Some(vec![
            "https://a.example.com".to_owned().try_into().unwrap(),
            "https://b.example.com:8443".to_owned().try_into().unwrap(),
        ]),
        plan: Some(Plan::Pro),
        ..OrganizationChange::default()
    };
    let id = organization.value.id;
    let organization = app
        .organizations
        .update(id, &change, None, &By::SYSTEM)
        .await
        .unwrap();
    let team = app
        .teams
        .create(
            &organization,
            "A team".to_owned(),
            "of two".to_owned(),
            &By::SYSTEM,
        )
        .await
        .unwrap();
    for (organization_id, team_id) in [
        (None, None),
        (Some(id), None),
        (Some(id), Some(team.value.id)),
    ] {
        let profile = WebhookChange {
            name: Some("A webhook".to_owned()),
            url: Some("https://example.com/hook".to_owned().try_into().unwrap()),
            events: Some(vec!["agent.created".to_owned().try_into().unwrap()]),
            is_active: Some(false),
            max_retries: Some(3),
            retry_backoff_base: Some(5),
            format: Some(Format::CloudEvents),
            token_events: Some(Some(TokenEvents::Off)),
        };
        let new = NewWebhook {
            organization_id,
            team_id,
            profile,
        };
        app.webhooks.create(new, &By::SYSTEM).await.unwrap();
    }
    for specimen in agents {
        let is_active = specimen.profile.is_active == Some(true);
        let new = NewAgent {
            organization_id: (specimen.belongs > 0).then_some(id),
            team_id: (specimen.belongs > 1).then_some(team.value.id),
            machine: specimen.machine,
            expires_in: None,
            profile: specimen.profile,
        };
        let (agent, secret) = app.agents.create(new, &By::SYSTEM).await.unwrap();
        let agent = Agent {
            id: agent.id.to_string(),
            client_id: agent.client_name(),
            client_secret: secret.reveal().to_owned(),
        };
        for _ in 0..specimen.tokens {
            let granted = issuer.token_answer(&agent).await;
            assert_eq!(granted.status == 200, is_active, "{}", granted.text);
        }
    }
}

async fn exported(issuer: &Issuer) -> (String, Value) {
    let mut text = Vec::new();
    export(&issuer.app, &mut text).await.unwrap();
    let text = String::from_utf8(text).unwrap();
    let json = serde_json::from_str(&text).unwrap();
    (text, json)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(12))]
    #[test]
    fn what_was_exported_and_imported_is_exported_the_same(agents in agents()) {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .enable_all()
            .build()
            .unwrap();
        runtime.block_on(async {
            let here = Issuer::start().await;
            make(&here, agents).await;
            let (text, before) = exported(&here).await;
            let there = Issuer::start().await;
            let document = Document::parse(text.as_bytes()).unwrap();
            let report = import(&there.app, document, false).await.unwrap();
            assert_eq!(report.failures(), 0, "{report}");
            assert_eq!(exported(&there).await.1, before);
            let again = import(&there.app, Document::parse(text.as_bytes()).unwrap(), false).await.unwrap();
            assert!(again.objects.iter().all(|line| line.outcome == Outcome::Unchanged), "{again}");
        });
    }
}

/// I5
#[tokio::test]
async fn an_export_holds_no_secret_and_its_agents_work_after_a_rotation() {
    let here = Installation::embedded(PROGRAM);
    let server = here.start().await;
    let acme = admin(
        &server,
        Method::POST,
        "/api/organizations",
        Some(json!({ "name": "Acme", "slug": "acme" })),
    );
    let acme = acme.await.str("id");
    let body = json!({ "name": "a", "scopes": ["read"], "organization_id": acme });
    let agent = Agent::read(&admin(&server, Method::POST, "/api/agents", Some(body)).await);
    let keys = format!("/api/organizations/{acme}/api-keys");
    let key = admin(&server, Method::POST, &keys, Some(json!({ "name": "k" }))).await;
    let body = json!({ "name": "w", "url": "http://127.0.0.1:9/", "events": ["*"] });
    let webhook = admin(&server, Method::POST, "/api/webhooks", Some(body)).await;
    assert!(server.terminate().await.status.success());

    assert!(here.command(&["export", "--out", "out.json"]).is_success);
    let path = here.directory().join("out.json");
    let text = std::fs::read_to_string(&path).unwrap();
    for secret in [
        &agent.client_secret[3..],
        &key.str("key")[12..],
        &webhook.str("secret"),
        "\"mac\"",
        "_hash",
        "sealed",
    ] {
        assert!(!text.contains(secret), "{secret} in {text}");
    }
    assert_eq!(here.command(&["export"]).stdout, text);
    let mode =
        std::os::unix::fs::PermissionsExt::mode(&std::fs::metadata(&path).unwrap().permissions());
    assert_eq!(mode & 0o777, 0o600);

    let there = here.successor();
    there.write("in.json", &text);
    let report = there.command(&["import", "machineauth-json", "in.json"]);
    assert!(report.stdout.contains("it has no secret: rotate it"));
    assert!(!report.is_success && report.stdout.contains("create a new key"));
    let server = there.start().await;
    token(&server, &agent)
        .await
        .expect_error(401, "invalid_client");
    let path = format!("/api/agents/{}/rotate", agent.id);
    let rotated = admin(&server, Method::POST, &path, Some(json!({}))).await;
    let agent = Agent {
        client_secret: rotated.str("client_secret"),
        ..agent
    };
    assert_eq!(token(&server, &agent).await.status, 200);
}
