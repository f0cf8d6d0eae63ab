//! The console in a real Chromium: what people do with it, who cannot be harmed through it, and who is not shut out.
//!
//! Pictures of what was seen are kept below `target/tmp/console`, by test.

mod accessibility;
mod journeys;
mod keyboard;
mod people;
mod security;
mod stored_markup;

use std::path::Path;

use machineauth_issuer::routes;
use machineauth_tests::browser::Browser;
use machineauth_tests::http::Answer;
use machineauth_tests::issuer::{ADMIN, Builder, Issuer};
use reqwest::{Method, RequestBuilder};
use serde_json::{Value, json};

/// An issuer, and a browser before its console.
struct Desk {
    issuer: Issuer,
    browser: Browser,
}

impl Desk {
    /// For the test that is called `test`.
    async fn set(test: &str) -> Self {
        Self::with(Issuer::builder(), test).await
    }

    async fn with(builder: Builder, test: &str) -> Self {
        let issuer = builder.start().await;
        let browser = browser(&issuer, test).await;
        Self { issuer, browser }
    }

    /// As [`Desk::set`], signed in as the configured administrator.
    async fn signed_in(test: &str) -> Self {
        let desk = Self::set(test).await;
        sign_in(&desk.browser, ADMIN).await;
        desk
    }

    async fn close(self) {
        self.browser.close().await;
        self.issuer.stop().await;
    }
}

async fn browser(issuer: &Issuer, test: &str) -> Browser {
    let pictures = Path::new(env!("CARGO_TARGET_TMPDIR")).join("console");
    Browser::start(&issuer.base, pictures.join(test)).await
}

async fn sign_in(browser: &Browser, (email, password): (&str, &str)) {
    browser.open("/admin").await;
    browser.fill("E-mail address", email).await;
    browser.fill("Password", password).await;
    browser.press("Sign in").await;
    browser.sees("Sign out").await;
}

/// A request without a browser in a session of the console.
struct Session {
    cookie: String,
    form_token: String,
}

impl Session {
    /// Signs in as a browser does, by the form.
    async fn begin(issuer: &Issuer, (email, password): (&str, &str)) -> Self {
        let shown = Answer::to(issuer.request(Method::GET, "/admin/sign-in")).await;
        let visit = cookie(&shown);
        let form = [
            ("form_token", &*form_token(&shown)),
            ("email", email),
            ("password", password),
        ];
        let request = issuer
            .request(Method::POST, "/admin/sign-in")
            .header("cookie", visit);
        let signed_in = Answer::to(request.form(&form)).await;
        assert_eq!(signed_in.status, 303, "{}", signed_in.text);
        let cookie = cookie(&signed_in);
        let page = issuer
            .request(Method::GET, "/admin/agents")
            .header("cookie", &cookie);
        let form_token = form_token(&Answer::to(page).await);
        Self { cookie, form_token }
    }

    fn request(&self, issuer: &Issuer, method: Method, path: &str) -> RequestBuilder {
        issuer.request(method, path).header("cookie", &self.cookie)
    }
}

/// The one cookie that an answer sets, as a request brings it back.
fn cookie(answer: &Answer) -> String {
    let set = answer.header("set-cookie");
    set.split(';').next().unwrap_or_default().to_owned()
}

/// The token of the first form on a page.
fn form_token(page: &Answer) -> String {
    let (_, rest) = page
        .text
        .split_once("name=\"form_token\" value=\"")
        .unwrap();
    rest.split('"').next().unwrap_or_default().to_owned()
}

/// All paths of the console that the router has, with the names of their parameters.
fn routed(issuer: &Issuer) -> Vec<String> {
    // The router tells nobody its paths but those who debug it.
    let router = format!("{:?}", routes::router(issuer.app.clone()));
    let paths = router.split('"').filter(|text| text.starts_with("/admin"));
    let mut paths: Vec<_> = paths
        .filter(|path| !path.contains('*'))
        .map(str::to_owned)
        .collect();
    paths.sort();
    paths.dedup();
    assert!(paths.len() > 30, "the console has many: {paths:?}");
    paths
}

/// The methods that a path has.
async fn methods(issuer: &Issuer, path: &str) -> Vec<String> {
    // One that no path has: the answer names those that this one has.
    let answer = Answer::to(issuer.request(Method::TRACE, path)).await;
    answer
        .header("allow")
        .split(',')
        .map(str::to_owned)
        .collect()
}

/// One of everything that the console shows, each called `name`.
struct Things {
    ids: Vec<(&'static str, String)>,
}

impl Things {
    async fn create(issuer: &Issuer, name: &str) -> Self {
        let post = async |path: &str, body: Value| {
            let created = issuer.admin(Method::POST, path, Some(body)).await;
            assert!(created.status.is_success(), "{path}: {}", created.text);
            created.json()
        };
        let id = |value: &Value| value.as_str().unwrap().to_owned();
        let organization = json!({ "name": name, "slug": "acme", "owner_email": "a@example.com" });
        let organization = id(&post("/api/organizations", organization).await["id"]);
        let below = format!("/api/organizations/{organization}");
        let described = json!({ "name": name, "description": name });
        let team = id(&post(&format!("{below}/teams"), described).await["id"]);
        let key = post(&format!("{below}/api-keys"), json!({ "name": name })).await;
        // A tag is shorter than a name can be.
        let tag: String = name.chars().take(64).collect();
        let agent = post(
            "/api/agents",
            json!({
                "name": name, "description": name, "organization_id": organization, "team_id": team,
                "scopes": ["read", "write"], "tags": [tag], "metadata": { name: name },
                "claims": { name: name },
            }),
        )
        .await;
        let agent = id(&agent["agent"]["id"]);
        let rotation = json!({ "grace": 3600 });
        post(&format!("/api/agents/{agent}/rotate"), rotation).await;
        let secrets = issuer
            .admin(Method::GET, &format!("/api/agents/{agent}/secrets"), None)
            .await;
        let machines = format!("/v1/organizations/{organization}/machine-clients");
        post(&machines, json!({ "name": name, "description": name })).await;
        // Nobody listens there: its deliveries fail.
        let webhook = json!({ "name": name, "url": "http://127.0.0.1:9/", "events": ["*"] });
        let webhook = id(&post("/api/webhooks", webhook).await["webhook"]["id"]);
        post(&format!("/api/webhooks/{webhook}/test"), json!({})).await;
        let deliveries = format!("/api/webhooks/{webhook}/deliveries");
        let deliveries = issuer.admin(Method::GET, &deliveries, None).await.json();
        let invitation = json!({ "email": "eve@example.com", "role": "viewer" });
        let invitation = post("/api/administrators/invitations", invitation).await;
        let login = json!({ "email": ADMIN.0, "password": ADMIN.1 });
        post("/api/auth/login", login).await;
        let sessions = issuer
            .admin(Method::GET, "/api/auth/sessions", None)
            .await
            .json();
        let kid = issuer.admin(Method::GET, "/api/keys", None).await.json();
        let me = issuer.admin(Method::GET, "/api/auth/me", None).await.json();
        Self {
            ids: vec![
                ("{agent}", agent),
                ("{organization}", organization),
                ("{team}", team),
                ("{key}", id(&key["api_key"]["id"])),
                ("{secret}", id(&secrets.json()["secrets"][0]["id"])),
                ("{webhook}", webhook),
                ("{delivery}", id(&deliveries["deliveries"][0]["id"])),
                ("{invitation}", id(&invitation["invitation"]["id"])),
                ("{token}", id(&invitation["token"])),
                ("{session}", id(&sessions["sessions"][0]["id"])),
                ("{kid}", id(&kid["keys"][0]["kid"])),
                ("{administrator}", id(&me["user"]["id"])),
            ],
        }
    }

    /// A path of the router with what is there in the place of its parameters.
    fn path(&self, template: &str) -> String {
        let places = [
            ("/admin/agents/{id}", "/admin/agents/{agent}"),
            (
                "/admin/organizations/{id}",
                "/admin/organizations/{organization}",
            ),
            ("/admin/webhooks/{id}", "/admin/webhooks/{webhook}"),
            (
                "/admin/administrators/invitations/{id}",
                "/admin/administrators/invitations/{invitation}",
            ),
            (
                "/admin/administrators/{id}",
                "/admin/administrators/{administrator}",
            ),
            (
                "/admin/account/sessions/{id}",
                "/admin/account/sessions/{session}",
            ),
        ];
        let path = places.iter().fold(template.to_owned(), |path, (id, name)| {
            path.replace(id, name)
        });
        self.ids
            .iter()
            .fold(path, |path, (name, id)| path.replace(name, id))
    }
}

/// The pages that the console has for whoever is signed in, with something on each.
async fn pages(issuer: &Issuer, things: &Things) -> Vec<String> {
    let mut pages = Vec::new();
    for template in routed(issuer) {
        let is_page = !["/admin/assets/", "/admin/audit/export", "/pem"]
            .iter()
            .any(|other| template.contains(other));
        let path = things.path(&template);
        if is_page
            && methods(issuer, &path)
                .await
                .iter()
                .any(|method| method == "GET")
        {
            assert!(!path.contains('{'), "there is nothing for {path}");
            pages.push(path);
        }
    }
    pages.push("/admin/agents?q=nobody-is-called-so".to_owned());
    pages.push("/admin/nothing-is-here".to_owned());
    pages
}
