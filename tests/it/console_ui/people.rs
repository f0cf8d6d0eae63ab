//! Who administers the server: by invitation, with roles, from several places.

use machineauth_tests::issuer::ADMIN;

use super::{Desk, browser, sign_in};

const ADA: (&str, &str) = ("ada@example.com", "correct horse battery");

#[tokio::test(flavor = "multi_thread")]
async fn somebody_is_invited_joins_gets_another_role_and_is_removed() {
    let desk = Desk::signed_in("people").await;
    let owner = &desk.browser;
    owner.follow("Administrators").await;
    owner.follow("Invite").await;
    owner.fill("E-mail address", ADA.0).await;
    owner.tick("Viewer").await;
    owner.picture("invite").await;
    owner.press("Invite and show the link").await;
    let link = owner.element("#secret").await.text().await.unwrap();
    owner.picture("link").await;

    let ada = browser(&desk.issuer, "people_ada").await;
    let path = link.strip_prefix(&desk.issuer.base).unwrap();
    ada.open(path).await;
    ada.sees(ADA.0).await;
    ada.fill("Password", ADA.1).await;
    ada.fill("Password again", "something else").await;
    ada.press("Begin").await;
    ada.sees("This is another one").await;
    ada.picture("welcome").await;
    ada.fill("Password", ADA.1).await;
    ada.fill("Password again", ADA.1).await;
    ada.press("Begin").await;
    ada.sees("Dashboard").await;
    ada.follow("Agents").await;
    ada.sees("No agents yet").await;
    assert_eq!(
        ada.count("a[href='/admin/agents/new']").await,
        0,
        "a viewer looks"
    );
    ada.picture("viewer").await;

    owner.follow("Administrators").await;
    owner.follow("ada@example.com").await;
    owner.choose("Role of ada@example.com", "admin").await;
    owner.press("Set the role").await;
    owner.sees("ada@example.com").await;
    owner.picture("administrators").await;
    ada.open("/admin/agents").await;
    ada.sees("E-mail address").await;
    sign_in(&ada, ADA).await;
    ada.open("/admin/agents").await;
    ada.follow("New agent").await;
    ada.sees("Create and show the secret").await;

    owner.fill("Type the address", ADA.0).await;
    owner.press("Remove ada@example.com").await;
    owner.sees("The administrator was removed").await;
    owner.misses("ada@example.com").await;
    ada.open("/admin").await;
    ada.fill("E-mail address", ADA.0).await;
    ada.fill("Password", ADA.1).await;
    ada.press("Sign in").await;
    ada.sees("The e-mail address or the password is wrong")
        .await;
    owner.follow("Audit").await;
    for action in [
        "administrator.invited",
        "administrator.joined",
        "administrator.role_changed",
        "administrator.removed",
    ] {
        owner.sees(action).await;
    }
    ada.close().await;
    desk.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_link_that_was_used_says_so() {
    let desk = Desk::set("used_link").await;
    desk.browser.open("/admin/invitation/mai_nobody").await;
    desk.browser.sees("ask for another").await;
    desk.browser.picture("used").await;
    desk.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn sessions_are_seen_and_ended_and_a_new_password_ends_the_others() {
    let desk = Desk::signed_in("sessions").await;
    let (here, there) = (&desk.browser, browser(&desk.issuer, "sessions_there").await);
    sign_in(&there, ADMIN).await;
    let account = "/admin/account";
    here.open(account).await;
    here.counts("tbody tr", 2).await;
    here.sees("this one").await;
    here.picture("account").await;
    here.press("Sign out everywhere else").await;
    here.counts("tbody tr", 1).await;
    there.open(account).await;
    there.sees("E-mail address").await;
    sign_in(&there, ADMIN).await;

    here.fill("Current password", "not the password").await;
    here.fill("New password", ADA.1).await;
    here.fill("New password again", ADA.1).await;
    here.press("Change the password").await;
    here.sees("This is not your password").await;
    here.fill("Current password", ADMIN.1).await;
    here.fill("New password", ADA.1).await;
    here.fill("New password again", ADA.1).await;
    here.press("Change the password").await;
    here.sees("Your password was changed").await;
    here.counts("tbody tr", 1).await;
    here.picture("changed").await;
    there.open(account).await;
    there.sees("E-mail address").await;
    sign_in(&there, (ADMIN.0, ADA.1)).await;
    there.close().await;
    desk.close().await;
}
