//! The configuration in the console.

use machineauth_tests::issuer::{ADMIN, Issuer};
use machineauth_tests::visitor::Visitor;

/// I21
#[tokio::test]
async fn the_configuration_in_force_is_shown_without_its_secrets() {
    let password = "a password of the operator's own";
    let issuer = Issuer::builder()
        .with("ADMIN_PASSWORD", password)
        .start()
        .await;
    let mut visitor = Visitor::new(&issuer);
    visitor.signs_in(ADMIN.0, password).await;
    let page = visitor.sees("/admin/configuration").await;
    assert!(page.says("ADMIN_PASSWORD") && page.says("JWT_ISSUER"));
    assert!(page.says(&issuer.base) && !page.says(password));
}
