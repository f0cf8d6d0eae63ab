//! Which room may know which, by the paths that the sources name.

use std::fs;
use std::path::{Path, PathBuf};

fn sources(of: &str) -> Vec<(PathBuf, String)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .unwrap()
        .join(of);
    let mut waiting = vec![root];
    let mut found = Vec::new();
    while let Some(path) = waiting.pop() {
        if path.is_dir() {
            waiting.extend(
                fs::read_dir(&path)
                    .unwrap()
                    .map(|entry| entry.unwrap().path()),
            );
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            let code = fs::read_to_string(&path).unwrap();
            let code: Vec<_> = code
                .lines()
                .filter(|line| !line.trim_start().starts_with("//"))
                .collect();
            found.push((path, code.join("\n")));
        }
    }
    assert!(!found.is_empty(), "{of} holds no sources");
    found
}

fn check(of: &str, may_not_name: &[&str]) {
    for (path, code) in sources(of) {
        for name in may_not_name {
            assert!(!code.contains(name), "{} names {name}", path.display());
        }
    }
}

#[test]
fn core_knows_no_framework_and_no_store() {
    check(
        "machineauth-core/src",
        &[
            "axum",
            "tower",
            "redis::",
            "machineauth_tower",
            "machineauth_issuer",
        ],
    );
}

#[test]
fn only_crypto_names_the_cryptographic_library() {
    for (path, code) in sources("machineauth-core/src") {
        let is_crypto = path.components().any(|part| part.as_os_str() == "crypto");
        assert!(
            is_crypto || !code.contains("aws_lc_rs"),
            "{} names aws_lc_rs",
            path.display()
        );
    }
}

#[test]
fn the_layers_know_no_issuer() {
    check(
        "machineauth-tower/src",
        &["machineauth_issuer", "reqwest", "redis::"],
    );
}

#[test]
fn the_domain_knows_no_http() {
    check(
        "machineauth-issuer/src/domain",
        &[
            "axum",
            "http::",
            "hyper",
            "crate::oauth",
            "crate::api",
            "crate::app",
            "crate::error",
        ],
    );
}

#[test]
fn the_store_knows_nothing_of_what_it_stores() {
    let above = [
        "crate::domain",
        "crate::oauth",
        "crate::api",
        "crate::events",
        "crate::app",
        "crate::config",
    ];
    check("machineauth-issuer/src/store", &above);
    check("machineauth-issuer/src/store", &["axum", "http::"]);
}

#[test]
fn nothing_below_the_routes_knows_them() {
    let root = "machineauth-issuer/src";
    for room in [
        "oauth",
        "api",
        "console",
        "events",
        "domain",
        "app.rs",
        "documents.rs",
    ] {
        check(
            &format!("{root}/{room}"),
            &["crate::routes", "crate::server", "crate::cli"],
        );
    }
    check(
        &format!("{root}/app.rs"),
        &["crate::oauth", "crate::api", "crate::console"],
    );
    check(
        &format!("{root}/domain"),
        &["crate::config", "crate::events", "crate::documents"],
    );
}

#[test]
fn the_map_names_only_what_is_there() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    let map = fs::read_to_string(root.join("ARCHITECTURE.md")).unwrap();
    let paths: Vec<_> = map
        .split('`')
        .filter(|text| text.contains('/') && !text.contains(' '))
        .collect();
    assert!(paths.len() > 10, "{paths:?}");
    for path in paths
        .into_iter()
        .filter(|path| path.starts_with("machineauth-") || path.starts_with("tests/"))
    {
        assert!(root.join(path).exists(), "ARCHITECTURE.md names {path}");
    }
}

#[test]
fn endpoints_do_not_know_each_other() {
    let rooms = ["oauth", "api", "console"];
    for room in rooms.iter().chain(&["events", "domain"]) {
        let others = rooms.iter().filter(|other| *other != room);
        let names: Vec<_> = others.map(|other| format!("crate::{other}")).collect();
        let names: Vec<_> = names.iter().map(String::as_str).collect();
        check(&format!("machineauth-issuer/src/{room}"), &names);
    }
}
