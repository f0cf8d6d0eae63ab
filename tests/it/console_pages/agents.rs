//! Agents in the console.

use std::process::Command;
use std::time::Duration;

use machineauth_tests::agent::Agent;
use machineauth_tests::issuer::{ADMIN, Issuer};
use machineauth_tests::visitor::{Page, Visitor};
use serde_json::json;

const NEW: &str = "/admin/agents/new";

async fn create(visitor: &mut Visitor<'_>, fields: &[(&str, &str)]) -> Page {
    let page = visitor.sees(NEW).await;
    visitor.submits(&page, NEW, fields).await
}

fn credentials(page: &Page) -> Agent {
    Agent {
        id: path_of(page).rsplit('/').next().unwrap().to_owned(),
        client_id: page.text_of("client-id"),
        client_secret: page.text_of("client-secret"),
    }
}

/// Where the page of the agent is whose secret a page shows.
fn path_of(page: &Page) -> String {
    let links = page.links();
    let path = links.iter().find(|link| link.matches('/').count() == 3);
    path.unwrap().clone()
}

#[tokio::test]
async fn an_agent_is_created_and_its_secret_works() {
    let issuer = Issuer::start().await;
    let mut visitor = Visitor::administrator(&issuer).await;
    let fields = [
        ("name", "Night shift"),
        ("scopes", "a\r\nb:c"),
        ("tags", "x, y"),
    ];
    let page = create(&mut visitor, &fields).await;
    assert_eq!(page.status, 201, "{}", page.text);
    let agent = credentials(&page);
    let answer = issuer.token_answer(&agent).await;
    assert_eq!(
        (answer.status.as_u16(), answer.str("scope").as_str()),
        (200, "a b:c")
    );
    for snippet in ["curl", "python", "node", "rust"] {
        assert!(
            page.text_of(snippet).contains(&agent.client_secret),
            "{snippet}"
        );
    }
    let page = visitor.sees(&path_of(&page)).await;
    assert!(page.says("Night shift") && page.says(&agent.client_id));
    assert!(!page.says(&agent.client_secret));
    assert!(page.says("Tokens: 1 in all"), "{}", page.text);
    let list = visitor.sees("/admin/agents").await;
    assert!(list.says("Night shift") && !list.says(&agent.client_secret));
}

/// I19: an organization chooses the scopes of its agents, and an administrator copies the line.
#[tokio::test]
async fn no_scope_is_a_command_in_the_line_for_a_shell() {
    let issuer = Issuer::start().await;
    let scopes = ["x';id", ";'", "$(id)", "`id`"];
    let agent = issuer.agent(&scopes).await;
    let mut visitor = Visitor::administrator(&issuer).await;
    let path = format!("/admin/agents/{}", agent.id);
    let page = visitor.sees(&path).await;
    let page = visitor.submits(&page, &format!("{path}/rotate"), &[]).await;
    let line = page.text_of("curl");
    let script = format!("curl() {{ printf '%s\\n' \"$@\"; }}\n{line}");
    let said = Command::new("sh").arg("-c").arg(script).output().unwrap();
    let secret = credentials(&page);
    let expected = format!(
        "-u\n{}:{}\n-d\ngrant_type=client_credentials\n-d\nscope={}\n{}/oauth/token\n",
        secret.client_id,
        secret.client_secret,
        scopes.join(" "),
        issuer.base,
    );
    assert_eq!(String::from_utf8(said.stdout).unwrap(), expected, "{line}");
}

/// I19
#[tokio::test]
async fn a_key_of_somebody_is_put_on_an_agent_by_whoever_proves_its_password_only() {
    let (issuer, clock) = Issuer::at_fixed_time().await;
    let mut visitor = Visitor::administrator(&issuer).await;
    let page = create(&mut visitor, &[("name", "One")]).await;
    let edit = format!("{}/edit", path_of(&page));
    clock.advance(Duration::from_secs(11 * 60));
    let page = visitor.sees(&edit).await;
    let renamed = visitor.submits(&page, &edit, &[("name", "Two")]).await;
    assert!(
        renamed.says("The agent was changed."),
        "a name is no credential"
    );
    let page = visitor.sees(&edit).await;
    let key = r#"{"kty":"OKP","crv":"Ed25519","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}"#;
    let fields = [("name", "Two"), ("public_key", key)];
    let page = visitor.submits(&page, &edit, &fields).await;
    assert_eq!(
        page.text_of("password-wrong"),
        "Your password is needed for this"
    );
    let mut fields = fields.to_vec();
    fields.push(("password", ADMIN.1));
    let page = visitor.submits(&page, &edit, &fields).await;
    assert!(
        page.says("The agent was changed.") && page.says("Ed25519"),
        "{}",
        page.text
    );
}

#[tokio::test]
async fn what_is_wrong_stands_beside_its_field_and_what_was_typed_stays() {
    let issuer = Issuer::start().await;
    let mut visitor = Visitor::administrator(&issuer).await;
    let name = "a name ".repeat(29);
    for (field, value) in [
        ("name", name.as_str()),
        ("scopes", "a \"b\""),
        ("metadata", "{\"a\": 1"),
        ("claims", "{\"iss\": \"me\"}"),
        ("audiences", &"a ".repeat(21)),
        ("token_lifetime", "soon"),
        ("expires_at", "tomorrow"),
        ("public_key", "none"),
        ("organization_id", "acme"),
    ] {
        let mut fields = vec![("description", "kept <as> typed")];
        if field != "name" {
            fields.push(("name", "A name"));
        }
        fields.push((field, value));
        let page = create(&mut visitor, &fields).await;
        assert_eq!(page.status, 422, "{field}: {}", page.text);
        assert!(!page.text_of(&format!("{field}-wrong")).is_empty());
        assert!(page.says("kept <as> typed"), "{field}");
        assert!(page.says(value), "{field}: {}", page.text);
    }
    assert!(visitor.sees("/admin/agents").await.says("No agents yet"));
}

#[tokio::test]
async fn a_new_secret_is_shown_only_to_whoever_has_just_proven_its_password() {
    let (issuer, clock) = Issuer::at_fixed_time().await;
    let mut visitor = Visitor::administrator(&issuer).await;
    clock.advance(Duration::from_secs(11 * 60));
    let page = create(&mut visitor, &[("name", "a")]).await;
    assert_eq!(
        page.text_of("password-wrong"),
        "Your password is needed for this"
    );
    let page = create(&mut visitor, &[("name", "a"), ("password", "wrong")]).await;
    assert_eq!(page.text_of("password-wrong"), "This is not your password");
    let page = create(&mut visitor, &[("name", "a"), ("password", ADMIN.1)]).await;
    assert_eq!(page.status, 201);
    let page = create(&mut visitor, &[("name", "b")]).await;
    assert_eq!(
        page.status, 201,
        "a password that was just proven is not asked for again"
    );
}

#[tokio::test]
async fn an_agent_is_rotated_suspended_and_deleted() {
    let issuer = Issuer::start().await;
    let mut visitor = Visitor::administrator(&issuer).await;
    let page = create(&mut visitor, &[("name", "Night shift")]).await;
    let (path, first) = (path_of(&page), credentials(&page));

    let page = visitor.sees(&path).await;
    let rotate = format!("{path}/rotate");
    let page = visitor.submits(&page, &rotate, &[("grace", "3600")]).await;
    let second = credentials(&page);
    for agent in [&first, &second] {
        assert_eq!(issuer.token_answer(agent).await.status, 200);
    }
    let page = visitor.sees(&path).await;
    let forms = page.forms();
    let cancel = forms.iter().find(|form| form.action.ends_with("/cancel"));
    let page = visitor.submits(&page, &cancel.unwrap().action, &[]).await;
    assert!(page.says("The secret was cancelled."));
    assert_eq!(issuer.token_answer(&first).await.status, 401);

    let token = issuer.token_answer(&second).await.str("access_token");
    let page = visitor
        .submits(&page, &format!("{path}/deactivate"), &[])
        .await;
    assert!(page.says("inactive"), "{}", page.text);
    assert_eq!(issuer.introspect(&token).await["active"], false);
    let page = visitor
        .submits(&page, &format!("{path}/reactivate"), &[])
        .await;
    assert_eq!(issuer.introspect(&token).await["active"], true);

    let delete = format!("{path}/delete");
    let typed = [("confirmation", "night shift")];
    let refused = visitor.submits(&page, &delete, &typed).await;
    assert_eq!(
        refused.text_of("confirmation-wrong"),
        "This is not its name"
    );
    let typed = [("confirmation", "Night shift")];
    let list = visitor.submits(&refused, &delete, &typed).await;
    assert!(list.says("The agent was deleted") && list.says("No agents yet"));
    assert_eq!(issuer.token_answer(&second).await.status, 401);
    assert_eq!(visitor.opens(&path).await.status, 404);
}

#[tokio::test]
async fn a_change_that_would_undo_another_one_is_refused() {
    let issuer = Issuer::start().await;
    let mut visitor = Visitor::administrator(&issuer).await;
    let page = create(&mut visitor, &[("name", "One"), ("scopes", "a")]).await;
    let path = path_of(&page);
    let edit = format!("{path}/edit");
    let stale = visitor.sees(&edit).await;
    let fields = [("name", "Two"), ("scopes", "a b"), ("token_lifetime", "60")];
    let page = visitor.submits(&stale, &edit, &fields).await;
    assert!(
        page.says("The agent was changed.") && page.says("Two"),
        "{}",
        page.text
    );
    assert!(page.says("1 minute"));
    let page = visitor.submits(&stale, &edit, &[("name", "Three")]).await;
    assert_eq!(page.status, 422);
    assert!(page.says("Somebody else has changed this") && page.says("Three"));
    assert!(visitor.sees(&path).await.says("Two"));
}

#[tokio::test]
async fn agents_are_searched_filtered_sorted_and_paged() {
    let issuer = Issuer::start().await;
    let organization = issuer.organization("acme").await;
    for n in 0..30 {
        let name = format!("{} {n:02}", if n % 2 == 0 { "even" } else { "Odd" });
        let agent = match n % 2 {
            0 => json!({ "name": name, "organization_id": organization }),
            _ => json!({ "name": name, "is_active": false }),
        };
        issuer.create(agent).await;
    }
    let mut visitor = Visitor::administrator(&issuer).await;
    let rows = |page: &Page| page.text.matches("<th scope=\"row\"").count();
    let first = visitor.sees("/admin/agents?sort=name").await;
    assert_eq!(rows(&first), 25);
    assert!(first.says("30 in all") && first.says("even 00"));
    let next = first
        .links()
        .into_iter()
        .find(|link| link.contains("after="));
    let second = visitor.sees(&next.unwrap()).await;
    assert_eq!(rows(&second), 5);
    assert!(second.says("Odd 29") && !second.says("even 00"));
    for (query, count) in [
        ("q=ODD", 15),
        ("q=odd+0", 5),
        ("status=inactive", 15),
        (&*format!("organization_id={organization}"), 15),
        (
            &*format!("organization_id={organization}&status=inactive"),
            0,
        ),
    ] {
        let page = visitor.sees(&format!("/admin/agents?{query}")).await;
        assert_eq!(rows(&page), count, "{query}");
        assert!(page.says(&format!("{count} in all")), "{query}");
    }
    let wrong = visitor.opens("/admin/agents?organization_id=acme").await;
    assert_eq!(wrong.status, 422);
    assert!(!wrong.text_of("organization_id-wrong").is_empty());
    let (_, list) = wrong.text.split_once("id=\"list\"").unwrap();
    assert!(
        list.contains("role=\"alert\""),
        "a script takes the list only: {list}"
    );
    let machines = format!("/admin/agents?organization_id={organization}&kind=machine");
    assert_eq!(rows(&visitor.sees(&machines).await), 0);
    let nonsense = visitor.opens("/admin/agents?q=a&q=b").await;
    assert_eq!(nonsense.status, 400);
    assert!(nonsense.says("That did not work"), "{}", nonsense.text);
}
