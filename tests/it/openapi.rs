//! The description of the API: that it is whole, what is checked in, and its reader. That answers are as described, every
//! test of an issuer shows: `machineauth_tests::description`.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use flate2::read::GzDecoder;
use machineauth_issuer::routes;
use machineauth_tests::description::{DESCRIPTION, operations, resolved};
use machineauth_tests::http::Answer;
use machineauth_tests::issuer::Issuer;
use reqwest::Method;
use serde_json::Value;

#[test]
fn what_is_checked_in_is_what_the_handlers_say() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/openapi.json");
    let checked_in = fs::read_to_string(path).unwrap();
    let described = routes::description().to_pretty_json().unwrap();
    assert!(
        checked_in.trim_end() == described,
        "docs/openapi.json is out of date: cargo run -p machineauth-issuer -- openapi > docs/openapi.json"
    );
}

#[tokio::test]
async fn the_router_has_the_paths_and_methods_that_are_described_and_no_others() {
    let issuer = Issuer::start().await;
    // The router tells nobody its paths but those who debug it.
    let router = format!("{:?}", routes::router(issuer.app.clone()));
    let routed: BTreeSet<_> = router
        .split('"')
        .filter(|text| text.starts_with('/') && !text.contains("__private__"))
        // The console's pages are no part of the API.
        .filter(|path| !path.starts_with("/admin"))
        .collect();
    let paths = DESCRIPTION["paths"].as_object().unwrap();
    assert_eq!(routed, paths.keys().map(String::as_str).collect());
    for (path, item) in paths {
        let described: BTreeSet<_> = item
            .as_object()
            .unwrap()
            .keys()
            .map(String::as_str)
            .collect();
        // A method that no path has: the answer names those that this one has.
        let real = path.replace(['{', '}'], "");
        let answer = Answer::to(issuer.request(Method::TRACE, &real)).await;
        let allowed = answer.header("allow").to_ascii_lowercase();
        let allowed = allowed.split(',').filter(|method| *method != "head");
        assert_eq!(allowed.collect::<BTreeSet<_>>(), described, "{path}");
    }
}

#[test]
fn every_operation_is_described_whole() {
    let mut ids = BTreeSet::new();
    for (path, method, operation) in operations() {
        let at = format!("{method} {path}");
        assert!(
            ids.insert(operation["operationId"].as_str().unwrap()),
            "{at}"
        );
        let summary = operation["summary"].as_str().unwrap();
        assert!(
            !summary.contains(['\n', '`']) && !summary.ends_with('.'),
            "{at}: {summary}"
        );
        assert_eq!(operation["tags"].as_array().unwrap().len(), 1, "{at}");
        let named: BTreeSet<_> = path.split(['{', '}']).skip(1).step_by(2).collect();
        let parameters = operation["parameters"].as_array();
        let described: BTreeSet<_> = parameters
            .into_iter()
            .flatten()
            .filter(|parameter| parameter["in"] == "path")
            .map(|parameter| parameter["name"].as_str().unwrap())
            .collect();
        assert_eq!(named, described, "{at}");
        for parameter in parameters.into_iter().flatten() {
            assert!(parameter["description"].is_string(), "{at}: {parameter}");
        }
        for answer in operation["responses"].as_object().unwrap().values() {
            assert!(
                resolved(answer)["description"].is_string(),
                "{at}: {answer}"
            );
        }
    }
}

#[test]
fn every_reference_leads_somewhere() {
    let mut waiting = vec![&*DESCRIPTION];
    let mut referred = BTreeSet::new();
    while let Some(value) = waiting.pop() {
        match value {
            Value::Object(members) => {
                waiting.extend(members.values());
                if let Some(reference) = members.get("$ref") {
                    resolved(value);
                    referred.insert(reference.as_str().unwrap().to_owned());
                }
            }
            Value::Array(items) => waiting.extend(items),
            _ => {}
        }
    }
    for kind in ["schemas", "responses"] {
        for name in DESCRIPTION["components"][kind].as_object().unwrap().keys() {
            let reference = format!("#/components/{kind}/{name}");
            assert!(
                referred.contains(&reference),
                "nothing refers to {reference}"
            );
        }
    }
}

#[tokio::test]
async fn the_description_is_served() {
    let issuer = Issuer::start().await;
    let served = issuer.get("/openapi.json").await;
    assert_eq!(served.header("content-type"), "application/json");
    assert_eq!(served.json(), *DESCRIPTION);
}

/// What `text` has in the attributes `src` and `href`.
fn links(text: &str) -> Vec<&str> {
    let after = |attribute| text.split(attribute).skip(1);
    let quoted = after("src=\"").chain(after("href=\""));
    quoted.map(|rest| rest.split('"').next().unwrap()).collect()
}

#[tokio::test]
async fn the_reader_needs_nothing_but_this_server() {
    let issuer = Issuer::start().await;
    let redirect = issuer.get("/docs").await;
    assert_eq!(
        (redirect.status.as_u16(), redirect.header("location")),
        (308, "docs/")
    );
    let index = issuer.request(Method::GET, "/docs/").send().await.unwrap();
    let policy = index.headers()["content-security-policy"].to_str().unwrap();
    assert!(
        policy.starts_with("default-src 'none'; script-src 'self';"),
        "{policy}"
    );
    assert!(
        !policy.contains("unsafe") && !policy.contains("http"),
        "{policy}"
    );
    assert_eq!(index.headers()["content-encoding"], "gzip");
    let index = index.bytes().await.unwrap();
    let index = std::io::read_to_string(GzDecoder::new(&index[..])).unwrap();
    let links = links(&index);
    assert!(links.len() > 4, "{index}");
    for link in links {
        let name = link.strip_prefix("./").unwrap_or(link);
        assert!(!name.contains(['/', ':']), "{link} is elsewhere");
        let part = issuer.get(&format!("/docs/{name}")).await;
        assert_eq!(part.status, 200, "{link}");
        assert!(!part.text.is_empty(), "{link}");
    }
    let settings = issuer.get("/docs/swagger-initializer.js").await;
    assert!(
        settings.text.contains("\"../openapi.json\""),
        "{}",
        settings.text
    );
    issuer
        .get("/docs/nothing")
        .await
        .expect_error(404, "not_found");
}
