use proptest::prelude::*;
use serde_json::json;

use super::*;

const LATER: u64 = 2_000_000_000;

fn claims() -> Claims {
    let payload = json!({
        "iss": "https://issuer.example", "sub": "agent-1", "aud": "api", "exp": LATER, "jti": "token-1",
        "agent_id": "agent-1", "org_id": "org-1", "gen": 3, "fid": "family-1",
    });
    Claims::parse(payload.to_string().as_bytes()).unwrap()
}

fn each_kind_that_hits() -> Vec<Revocation> {
    vec![
        Revocation::Token {
            jti: "token-1".into(),
            until: LATER,
        },
        Revocation::Family {
            fid: "family-1".into(),
            until: LATER,
        },
        Revocation::Agent {
            agent_id: "agent-1".into(),
            below_generation: 4,
            until: LATER,
        },
        Revocation::Suspended {
            agent_id: "agent-1".into(),
            until: LATER,
        },
        Revocation::Organization {
            org_id: "org-1".into(),
            until: LATER,
        },
        Revocation::Key {
            kid: "key-1".into(),
            until: LATER,
        },
    ]
}

fn agent_below(below_generation: u64) -> Revocation {
    Revocation::Agent {
        agent_id: "agent-1".into(),
        below_generation,
        until: LATER,
    }
}

#[test]
fn each_kind_hits_what_it_names_and_moves_the_epoch_once() {
    for revocation in each_kind_that_hits() {
        let set = RevocationSet::new();
        assert!(!set.hit(&claims(), Some("key-1")));
        let epoch = set.epoch();

        set.apply(&revocation);
        assert!(set.hit(&claims(), Some("key-1")), "{revocation:?}");
        assert_eq!(set.epoch(), epoch + 1, "{revocation:?}");

        set.apply(&revocation);
        assert_eq!(
            set.epoch(),
            epoch + 1,
            "a replay changes nothing: {revocation:?}"
        );
        assert_eq!(set.len(), 1);
    }
}

#[test]
fn an_id_of_one_kind_does_not_hit_as_another() {
    let set = RevocationSet::new();
    for id in ["agent-1", "org-1", "family-1", "key-1"] {
        set.apply(&Revocation::Token {
            jti: id.into(),
            until: LATER,
        });
    }
    set.apply(&Revocation::Key {
        kid: "token-1".into(),
        until: LATER,
    });
    assert!(!set.hit(&claims(), Some("key-1")));
    assert!(!set.hit(&claims(), None));
}

#[test]
fn an_agent_is_revoked_below_its_generation_only() {
    let set = RevocationSet::new();
    set.apply(&agent_below(3));
    assert!(!set.hit(&claims(), None));
    set.apply(&agent_below(4));
    set.apply(&agent_below(2));
    assert!(set.hit(&claims(), None), "the largest generation counts");
}

/// A token that does not say its generation could be of any, and is refused.
#[test]
fn a_token_without_a_generation_is_older_than_every_generation() {
    let set = RevocationSet::new();
    set.apply(&agent_below(1));
    let mut unversioned = claims();
    unversioned.generation = None;
    assert!(set.hit(&unversioned, None));
}

#[test]
fn a_token_without_an_agent_id_is_known_by_its_subject() {
    let set = RevocationSet::new();
    set.apply(&agent_below(4));
    let mut standard = claims();
    standard.agent_id = None;
    assert!(set.hit(&standard, None));
}

#[test]
fn a_resumed_agent_is_accepted_again_and_its_generation_stays_revoked() {
    let set = RevocationSet::new();
    let resumed = Revocation::Resumed {
        agent_id: "agent-1".into(),
    };
    set.apply(&Revocation::Suspended {
        agent_id: "agent-1".into(),
        until: LATER,
    });
    let suspended = set.epoch();
    set.apply(&resumed);
    assert!(!set.hit(&claims(), None));
    assert_ne!(
        set.epoch(),
        suspended,
        "whoever remembers the refusal must look again"
    );

    set.apply(&agent_below(4));
    set.apply(&resumed);
    assert!(set.hit(&claims(), None));
}

#[test]
fn a_snapshot_replaces_everything_known_before() {
    let set = RevocationSet::new();
    set.apply(&Revocation::Token {
        jti: "token-1".into(),
        until: LATER,
    });
    let epoch = set.epoch();
    set.replace(vec![Revocation::Token {
        jti: "token-2".into(),
        until: LATER,
    }]);
    assert!(!set.hit(&claims(), None));
    assert_eq!(set.len(), 1);
    assert_ne!(set.epoch(), epoch);
}

#[test]
fn what_can_hit_nothing_alive_is_forgotten_and_no_sooner() {
    let set = RevocationSet::new();
    each_kind_that_hits()
        .iter()
        .for_each(|revocation| set.apply(revocation));
    let epoch = set.epoch();

    let last_leeway = Timestamp::from_secs(LATER).saturating_add(EXPIRY_MARGIN);
    set.expire(last_leeway.saturating_sub(Duration::from_secs(1)));
    assert_eq!(set.len(), 6);
    set.expire(last_leeway);
    assert!(set.is_empty());
    assert_eq!(set.read().bytes(), 0);
    assert_eq!(set.epoch(), epoch);
}

/// V24
#[test]
fn a_full_set_keeps_what_it_has_and_says_that_it_is_not_fresh() {
    let set = RevocationSet::with_max_bytes(2 * (ENTRY_OVERHEAD + 8));
    let token = |n: u64| Revocation::Token {
        jti: format!("token-{n}"),
        until: LATER,
    };
    let now = Timestamp::from_secs(1000);
    set.mark_fresh(now);
    set.apply(&token(1));
    set.apply(&token(2));
    assert_eq!(set.staleness(now), Some(Duration::ZERO));

    set.apply(&token(3));
    assert_eq!(set.len(), 2);
    assert!(set.hit(&claims(), None));
    assert_eq!(set.staleness(now), None);

    set.replace(vec![token(3)]);
    assert_eq!(set.staleness(now), Some(Duration::ZERO));
    set.replace(vec![token(1), token(2), token(3)]);
    assert_eq!(set.staleness(now), None);
}

/// V24
#[test]
fn staleness_counts_from_the_latest_mark_and_never_runs_backwards() {
    let set = RevocationSet::new();
    let at = Timestamp::from_secs(1000);
    assert_eq!(set.staleness(at), None);
    set.mark_fresh(at);
    set.mark_fresh(at.saturating_sub(Duration::from_secs(50)));
    assert_eq!(
        set.staleness(at.saturating_add(Duration::from_secs(7))),
        Some(Duration::from_secs(7))
    );
    assert_eq!(set.staleness(Timestamp::from_secs(1)), Some(Duration::ZERO));
}

#[test]
fn the_wire_form_is_tagged_by_type_in_snake_case() {
    assert_eq!(
        serde_json::to_value(agent_below(4)).unwrap(),
        json!({"type": "agent", "agent_id": "agent-1", "below_generation": 4, "until": LATER})
    );
    for revocation in each_kind_that_hits() {
        let text = serde_json::to_string(&revocation).unwrap();
        assert_eq!(
            serde_json::from_str::<Revocation>(&text).unwrap(),
            revocation
        );
    }
}

#[test]
fn a_kind_from_the_future_is_ignored_and_a_malformed_known_kind_is_an_error() {
    let future: Revocation =
        serde_json::from_str(r#"{"type":"galaxy","galaxy_id":1,"until":2}"#).unwrap();
    assert_eq!(future, Revocation::Unknown);
    let set = RevocationSet::new();
    set.apply(&future);
    assert_eq!((set.len(), set.epoch()), (0, 0));

    for malformed in [
        r#"{"type":"token","until":2}"#,
        r#"{"type":"token","jti":1,"until":2}"#,
        r#"{"type":"token","jti":"a","until":-1}"#,
        r#"{"jti":"a","until":1}"#,
    ] {
        assert!(
            serde_json::from_str::<Revocation>(malformed).is_err(),
            "{malformed}"
        );
    }
}

/// V17: whoever reads the epoch first and looks up after it never keeps a wrong answer.
#[test]
fn an_answer_remembered_under_an_epoch_is_right_for_as_long_as_the_epoch_stays() {
    let set = RevocationSet::new();
    let writer = set.clone();
    let (claims, token) = (
        claims(),
        Revocation::Token {
            jti: "token-1".into(),
            until: LATER,
        },
    );
    std::thread::scope(|scope| {
        scope.spawn(move || {
            for n in 0..2_000 {
                writer.apply(&Revocation::Token {
                    jti: format!("other-{n}"),
                    until: LATER,
                });
            }
            writer.apply(&token);
        });
        let mut judged_at = set.epoch();
        let mut revoked = set.hit(&claims, None);
        while !revoked {
            let epoch = set.epoch();
            if epoch != judged_at {
                revoked = set.hit(&claims, None);
                judged_at = epoch;
            }
            std::hint::spin_loop();
        }
    });
    assert!(set.hit(&claims, None));
}

fn any_widening_revocation() -> impl Strategy<Value = Revocation> {
    let id = || (0..3_u8).prop_map(|n| format!("id-{n}"));
    let until = || 0..5_u64;
    prop_oneof![
        (id(), until()).prop_map(|(jti, until)| Revocation::Token { jti, until }),
        (id(), until()).prop_map(|(fid, until)| Revocation::Family { fid, until }),
        (id(), 0..4_u64, until()).prop_map(|(agent_id, below_generation, until)| {
            Revocation::Agent {
                agent_id,
                below_generation,
                until,
            }
        }),
        (id(), until()).prop_map(|(agent_id, until)| Revocation::Suspended { agent_id, until }),
        (id(), until()).prop_map(|(org_id, until)| Revocation::Organization { org_id, until }),
        (id(), until()).prop_map(|(kid, until)| Revocation::Key { kid, until }),
    ]
}

/// Everything a set can be asked, over all ids that the strategy makes up.
fn answers(set: &RevocationSet) -> Vec<bool> {
    let mut answers = Vec::new();
    for id in ["id-0", "id-1", "id-2"] {
        for generation in 0..4 {
            let blank = Claims {
                jwt_id: None,
                family_id: None,
                organization_id: None,
                agent_id: Some("nobody".into()),
                ..claims()
            };
            answers.push(set.hit(
                &Claims {
                    jwt_id: Some(id.into()),
                    ..blank.clone()
                },
                None,
            ));
            answers.push(set.hit(
                &Claims {
                    family_id: Some(id.into()),
                    ..blank.clone()
                },
                None,
            ));
            answers.push(set.hit(
                &Claims {
                    organization_id: Some(id.into()),
                    ..blank.clone()
                },
                None,
            ));
            answers.push(set.hit(
                &Claims {
                    agent_id: Some(id.into()),
                    generation: Some(generation),
                    ..blank.clone()
                },
                None,
            ));
            answers.push(set.hit(&blank, Some(id)));
        }
    }
    answers
}

proptest! {
    #[test]
    fn the_order_of_application_does_not_matter(
        revocations in prop::collection::vec(any_widening_revocation(), 0..20),
        rotation in 0..20_usize,
        now in 0..600_u64,
    ) {
        let forwards = RevocationSet::new();
        revocations.iter().for_each(|revocation| forwards.apply(revocation));

        let mut shuffled = revocations;
        shuffled.reverse();
        let middle = rotation % shuffled.len().max(1);
        shuffled.rotate_left(middle);
        let backwards = RevocationSet::new();
        backwards.replace(shuffled);

        prop_assert_eq!(answers(&forwards), answers(&backwards));
        forwards.expire(Timestamp::from_secs(now));
        backwards.expire(Timestamp::from_secs(now));
        prop_assert_eq!(answers(&forwards), answers(&backwards));
        prop_assert_eq!(forwards.read().bytes(), backwards.read().bytes());
    }
}
