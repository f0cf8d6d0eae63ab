//! Administrators and their own accounts in the console.

use std::time::Duration;

use machineauth_tests::issuer::{ADMIN, Issuer};
use machineauth_tests::visitor::{Page, Visitor};

const PASSWORD: &str = "correct horse battery";
const INVITE: &str = "/admin/administrators/invite";
const ACCOUNT: &str = "/admin/account";

async fn invited(issuer: &Issuer, email: &str, role: &str) -> String {
    let mut owner = Visitor::administrator(issuer).await;
    let page = owner.sees(INVITE).await;
    let fields = [("email", email), ("role", role)];
    let page = owner.submits(&page, INVITE, &fields).await;
    let link = page.text_of("secret");
    link.strip_prefix(&issuer.base).unwrap().to_owned()
}

/// The page of the administrator that says so.
async fn page_of(owner: &mut Visitor<'_>, said: &str) -> Page {
    let list = owner.sees("/admin/administrators").await;
    for link in list.links() {
        let page = owner.opens(&link).await;
        if link.starts_with("/admin/administrators/") && page.says(said) {
            return page;
        }
    }
    panic!("no administrator {said}");
}

async fn accepts(visitor: &mut Visitor<'_>, path: &str) -> Page {
    let page = visitor.sees(path).await;
    let fields = [("new_password", PASSWORD), ("repeated", PASSWORD)];
    visitor.submits(&page, path, &fields).await
}

#[tokio::test]
async fn an_invitation_makes_an_administrator_once() {
    let issuer = Issuer::start().await;
    let path = invited(&issuer, "ada@example.com", "admin").await;
    let mut ada = Visitor::new(&issuer);
    let page = ada.sees(&path).await;
    assert!(page.says("ada@example.com") && page.says("admin"));
    for (password, repeated, field) in [
        ("short", "short", "new_password-wrong"),
        (PASSWORD, "another one", "repeated-wrong"),
    ] {
        let fields = [("new_password", password), ("repeated", repeated)];
        let page = ada.submits(&page, &path, &fields).await;
        assert_eq!(page.status, 422);
        assert!(!page.text_of(field).is_empty());
    }
    let page = accepts(&mut ada, &path).await;
    assert_eq!(page.path, "/admin");
    assert!(page.says("ada@example.com") && page.says("(admin)"));
    assert_eq!(Visitor::new(&issuer).opens(&path).await.status, 404);
    let mut again = Visitor::new(&issuer);
    again.signs_in("ada@example.com", PASSWORD).await;
    assert_eq!(again.opens(INVITE).await.status, 403, "only owners invite");
}

#[tokio::test]
async fn an_owner_changes_roles_removes_and_withdraws() {
    let issuer = Issuer::start().await;
    let path = invited(&issuer, "ada@example.com", "admin").await;
    let mut ada = Visitor::new(&issuer);
    accepts(&mut ada, &path).await;
    let withdrawn = invited(&issuer, "bob@example.com", "viewer").await;

    let mut owner = Visitor::administrator(&issuer).await;
    let page = owner.sees("/admin/administrators").await;
    assert!(page.says("bob@example.com"));
    let action = |page: &Page, end: &str| {
        let forms = page.forms();
        let form = forms.iter().find(|form| form.action.ends_with(end));
        form.unwrap().action.clone()
    };
    let page = owner.submits(&page, &action(&page, "/withdraw"), &[]).await;
    assert!(page.says("The invitation was withdrawn."));
    assert_eq!(Visitor::new(&issuer).opens(&withdrawn).await.status, 404);

    let page = page_of(&mut owner, "Came by an invitation").await;
    let role = action(&page, "/role");
    let page = owner.submits(&page, &role, &[("role", "viewer")]).await;
    assert!(page.says("has another role"));
    assert!(ada.opens("/admin").await.path.starts_with("/admin/sign-in"));
    ada.signs_in("ada@example.com", PASSWORD).await;
    assert!(ada.sees("/admin").await.says("(viewer)"));

    let remove = action(&page, "/remove");
    let refused = owner
        .submits(&page, &remove, &[("confirmation", "ada")])
        .await;
    assert_eq!(
        refused.text_of("confirmation-wrong"),
        "This is not the address"
    );
    let typed = [("confirmation", "ada@example.com")];
    let page = owner.submits(&refused, &remove, &typed).await;
    assert!(page.says("The administrator was removed") && !page.says("ada@example.com"));
    assert!(ada.opens("/admin").await.path.starts_with("/admin/sign-in"));
}

#[tokio::test]
async fn a_changed_password_ends_every_other_session() {
    let issuer = Issuer::start().await;
    let mut here = Visitor::administrator(&issuer).await;
    let mut there = Visitor::administrator(&issuer).await;
    let page = here.sees(ACCOUNT).await;
    let action = "/admin/account/password";
    let fields = |current, new, repeated| {
        [
            ("current_password", current),
            ("new_password", new),
            ("repeated", repeated),
        ]
    };
    for (typed, field) in [
        (
            fields("wrong", PASSWORD, PASSWORD),
            "current_password-wrong",
        ),
        (fields(ADMIN.1, "short", "short"), "new_password-wrong"),
        (fields(ADMIN.1, PASSWORD, "another"), "repeated-wrong"),
    ] {
        let page = here.submits(&page, action, &typed).await;
        assert_eq!(page.status, 422);
        assert!(!page.text_of(field).is_empty());
        assert!(!page.says(PASSWORD), "a password is not shown again");
    }
    let typed = fields(ADMIN.1, PASSWORD, PASSWORD);
    let page = here.submits(&page, action, &typed).await;
    assert!(page.says("Your password was changed"), "{}", page.text);
    assert!(
        there
            .opens("/admin")
            .await
            .path
            .starts_with("/admin/sign-in")
    );
    there.signs_in(ADMIN.0, PASSWORD).await;
}

#[tokio::test]
async fn sessions_are_listed_and_ended_one_by_one_or_all_others() {
    let issuer = Issuer::start().await;
    let mut here = Visitor::administrator(&issuer).await;
    here.headers = vec![("user-agent", "a browser".into())];
    let mut there = Visitor::administrator(&issuer).await;
    let mut elsewhere = Visitor::administrator(&issuer).await;
    let page = here.sees(ACCOUNT).await;
    let ends = |page: &Page| {
        let forms = page.forms().into_iter();
        let actions = forms.map(|form| form.action);
        let ends = actions.filter(|action| action.matches('/').count() == 5);
        ends.collect::<Vec<_>>()
    };
    assert_eq!(ends(&page).len(), 3);
    let page = here
        .submits(&page, "/admin/account/sessions/end", &[])
        .await;
    assert!(page.says("Your other sessions were ended."));
    assert_eq!(ends(&page).len(), 1);
    for other in [&mut there, &mut elsewhere] {
        assert!(
            other
                .opens("/admin")
                .await
                .path
                .starts_with("/admin/sign-in")
        );
    }
    let page = here.submits(&page, &ends(&page)[0], &[]).await;
    assert_eq!(page.path, "/admin/sign-in");
}

/// I19
#[tokio::test]
async fn nobody_is_promoted_or_removed_in_a_session_that_was_left_open() {
    let (issuer, clock) = Issuer::at_fixed_time().await;
    let path = invited(&issuer, "ada@example.com", "viewer").await;
    accepts(&mut Visitor::new(&issuer), &path).await;
    let mut owner = Visitor::administrator(&issuer).await;
    clock.advance(Duration::from_secs(11 * 60));
    let page = page_of(&mut owner, "Came by an invitation").await;
    for (end, id, typed) in [
        ("/role", "role-password-wrong", ("role", "owner")),
        (
            "/remove",
            "removal-password-wrong",
            ("confirmation", "ada@example.com"),
        ),
    ] {
        let forms = page.forms();
        let form = forms
            .iter()
            .find(|form| form.action.ends_with(end))
            .unwrap();
        let refused = owner.submits(&page, &form.action, &[typed]).await;
        assert_eq!(refused.text_of(id), "Your password is needed for this");
        assert!(refused.says("viewer"), "{}", refused.text);
    }
    let forms = page.forms();
    let role = forms.iter().find(|form| form.action.ends_with("/role"));
    let typed = [("role", "admin"), ("password", ADMIN.1)];
    let page = owner.submits(&page, &role.unwrap().action, &typed).await;
    assert!(page.says("has another role"), "{}", page.text);
}

#[tokio::test]
async fn who_is_about_to_come_in_is_shown_to_owners_only() {
    let issuer = Issuer::start().await;
    let path = invited(&issuer, "ada@example.com", "viewer").await;
    let mut ada = Visitor::new(&issuer);
    accepts(&mut ada, &path).await;
    invited(&issuer, "bob@example.com", "admin").await;
    let mut owner = Visitor::administrator(&issuer).await;
    assert!(
        owner
            .sees("/admin/administrators")
            .await
            .says("bob@example.com")
    );
    let page = ada.sees("/admin/administrators").await;
    assert!(page.says("ada@example.com") && !page.says("bob@example.com"));
}

#[tokio::test]
async fn what_is_over_already_is_said_and_is_no_failure() {
    let issuer = Issuer::start().await;
    invited(&issuer, "ada@example.com", "viewer").await;
    let mut owner = Visitor::administrator(&issuer).await;
    let list = owner.sees("/admin/administrators").await;
    let forms = list.forms();
    let withdraw = forms.iter().find(|form| form.action.ends_with("/withdraw"));
    let withdraw = &withdraw.unwrap().action;
    let page = owner.submits(&list, withdraw, &[]).await;
    assert!(page.says("The invitation was withdrawn."), "{}", page.text);
    let page = owner.submits(&list, withdraw, &[]).await;
    assert_eq!(page.status, 200);
    assert!(page.says("There is no such invitation any more"));

    // The oldest session is the one in which the invitation was made.
    let own = owner.sees(ACCOUNT).await;
    let forms = own.forms();
    let mut ends = forms.iter().filter(|form| form.action.ends_with("/end"));
    let end = &ends.next_back().unwrap().action;
    for said in ["The session was ended.", "The session had ended before."] {
        let page = owner.submits(&own, end, &[]).await;
        assert!(page.says(said), "{}", page.text);
    }
}
