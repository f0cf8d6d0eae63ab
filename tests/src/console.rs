//! The console's paths as the router has them, and something to show on each of its pages.

use machineauth_issuer::routes;
use reqwest::Method;
use serde_json::{Value, json};

use crate::http::Answer;
use crate::issuer::{ADMIN, Issuer};

/// What pages are made of, wherever the router names it: the beginning of a path, and what its `{id}` is.
const NOUNS: [(&str, &str); 6] = [
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

/// All paths of the console that the router has, with the names of their parameters.
///
/// # Panics
/// When they are suspiciously few.
pub fn routed(issuer: &Issuer) -> Vec<String> {
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

/// Whether a path has that method.
async fn has(issuer: &Issuer, path: &str, method: Method) -> bool {
    // One that no path has: the answer names those that this one has.
    let answer = Answer::to(issuer.request(Method::TRACE, path)).await;
    let mut allowed = answer.header("allow").split(',');
    allowed.any(|allowed| allowed.trim() == method.as_str())
}

/// One of everything that the console shows.
#[derive(Debug)]
pub struct Furniture {
    ids: Vec<(&'static str, String)>,
}

impl Furniture {
    /// Creates it, each called `name`.
    ///
    /// # Panics
    /// When something cannot be created.
    pub async fn create(issuer: &Issuer, name: &str) -> Self {
        let post = async |path: &str, body: Value| {
            let created = issuer.admin(Method::POST, path, Some(body)).await;
            assert!(created.status.is_success(), "{path}: {}", created.text);
            created.json()
        };
        let get = async |path: &str| issuer.admin(Method::GET, path, None).await.json();
        let id = |value: &Value| value.as_str().expect("an identifier is a text").to_owned();

        let organization = json!({ "name": name, "slug": "acme", "owner_email": "a@example.com" });
        let organization = id(&post("/api/organizations", organization).await["id"]);
        let below = format!("/api/organizations/{organization}");
        let described = json!({ "name": name, "description": name });
        let team = id(&post(&format!("{below}/teams"), described).await["id"]);
        let key = post(&format!("{below}/api-keys"), json!({ "name": name })).await;
        let agent = json!({ "name": name, "organization_id": organization, "team_id": team });
        let agent = id(&post("/api/agents", agent).await["agent"]["id"]);
        let rotation = json!({ "grace": 3600 });
        post(&format!("/api/agents/{agent}/rotate"), rotation).await;
        let secrets = get(&format!("/api/agents/{agent}/secrets")).await;
        let machines = format!("/v1/organizations/{organization}/machine-clients");
        let machine = post(&machines, json!({ "name": name, "dockId": "dock-1" })).await;
        // Nobody listens there: its deliveries fail.
        let webhook = json!({ "name": name, "url": "http://127.0.0.1:9/", "events": ["*"] });
        let webhook = id(&post("/api/webhooks", webhook).await["webhook"]["id"]);
        post(&format!("/api/webhooks/{webhook}/test"), json!({})).await;
        let deliveries = get(&format!("/api/webhooks/{webhook}/deliveries")).await;
        let invitation = json!({ "email": "eve@example.com", "role": "viewer" });
        let invitation = post("/api/administrators/invitations", invitation).await;
        let login = json!({ "email": ADMIN.0, "password": ADMIN.1 });
        post("/api/auth/login", login).await;
        let sessions = get("/api/auth/sessions").await;
        let keys = get("/api/keys").await;
        let me = get("/api/auth/me").await;
        Self {
            ids: vec![
                ("{agent}", agent),
                ("{organization}", organization),
                ("{team}", team),
                ("{key}", id(&key["api_key"]["id"])),
                ("{secret}", id(&secrets["secrets"][0]["id"])),
                ("{machine}", id(&machine["clientId"])),
                ("{webhook}", webhook),
                ("{delivery}", id(&deliveries["deliveries"][0]["id"])),
                ("{invitation}", id(&invitation["invitation"]["id"])),
                ("{token}", id(&invitation["token"])),
                ("{session}", id(&sessions["sessions"][0]["id"])),
                ("{kid}", id(&keys["keys"][0]["kid"])),
                ("{administrator}", id(&me["user"]["id"])),
            ],
        }
    }

    /// A path of the router with what is there in the place of its parameters.
    pub fn path(&self, template: &str) -> String {
        let nouns = NOUNS.iter();
        let path = nouns.fold(template.to_owned(), |path, (id, name)| {
            path.replace(id, name)
        });
        let ids = self.ids.iter();
        ids.fold(path, |path, (name, id)| path.replace(name, id))
    }

    /// The pages that the console has for whoever is signed in, with something on each, and some with nothing.
    ///
    /// # Panics
    /// When there is a page for which nothing was created.
    pub async fn pages(&self, issuer: &Issuer) -> Vec<String> {
        let files = [
            "/admin/assets/",
            "/admin/audit/export",
            "/admin/audit/seals",
            "/pem",
        ];
        let mut pages = Vec::new();
        for template in routed(issuer) {
            let is_file = files.iter().any(|file| template.contains(file));
            let path = self.path(&template);
            if !is_file && has(issuer, &path, Method::GET).await {
                assert!(!path.contains('{'), "there is nothing for {path}");
                pages.push(path);
            }
        }
        pages.push("/admin/agents?q=nobody-is-called-so".to_owned());
        pages.push("/admin/nothing-is-here".to_owned());
        pages
    }

    /// Everything that a form of the console can be sent to.
    ///
    /// # Panics
    /// When that is suspiciously little.
    pub async fn actions(&self, issuer: &Issuer) -> Vec<String> {
        let mut actions = Vec::new();
        for template in routed(issuer) {
            let path = self.path(&template);
            if has(issuer, &path, Method::POST).await {
                actions.push(path);
            }
        }
        assert!(actions.len() > 20, "the console does much: {actions:?}");
        actions
    }
}
