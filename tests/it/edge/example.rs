//! The example that readers start with does what it says.

use std::path::Path;

use machineauth_tests::process::{free_port, run};

use super::EDGE;

#[test]
fn the_example_shows_every_answer_it_promises() {
    let names = [
        "ISSUER_PORT",
        "EDGE_PORT",
        "TLS_PORT",
        "ADMIN_PORT",
        "ARTIFACTS_PORT",
        "REPORTS_PORT",
    ];
    let ports = names.map(|_| free_port().to_string());
    let mut variables = vec![
        ("PATH", "/usr/local/bin:/usr/bin:/bin"),
        ("ISSUER", env!("CARGO_BIN_EXE_issuer")),
        ("EDGE", EDGE),
    ];
    variables.extend(names.iter().copied().zip(ports.iter().map(String::as_str)));
    let example = Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples/edge");
    let ran = run(&example.join("run"), &example, &variables, &[], "");
    assert!(ran.is_success, "{}{}", ran.stdout, ran.stderr);
    assert_eq!(ran.stdout.matches("\n429\n").count(), 2, "{}", ran.stdout);
    assert_eq!(ran.stdout.matches("\nafter ").count(), 2, "{}", ran.stdout);
}
