//! What sources say about keeping keys, names that are missing, snapshots, and how the cache says it is doing.

use std::path::PathBuf;

use super::super::fetching::MOST_WAITING;
use super::*;

/// Answers as [`Source`] does, with a validator, and remembers which one it was asked about.
#[derive(Clone, Debug, Default)]
struct Careful(Arc<CarefulState>);

#[derive(Debug, Default)]
struct CarefulState {
    answers: Mutex<VecDeque<Result<KeysAnswer, FetchError>>>,
    asked_about: Mutex<Vec<Option<String>>>,
}

impl Careful {
    fn answers(&self, answer: KeysAnswer) {
        self.0.answers.lock().unwrap().push_back(Ok(answer));
    }

    fn asked_about(&self) -> Vec<Option<String>> {
        self.0.asked_about.lock().unwrap().clone()
    }

    fn cache(&self) -> (JwksCache, ManualClock) {
        let clock = ManualClock::new(START);
        let builder = JwksCache::builder(self.clone()).clock(Arc::new(clock.clone()));
        (builder.build().unwrap(), clock)
    }
}

impl FetchKeys for Careful {
    fn fetch(&self) -> FetchFuture<'_> {
        panic!("the cache asks whether anything has changed");
    }

    fn fetch_if_changed<'a>(&'a self, etag: Option<&'a str>) -> AnswerFuture<'a> {
        self.0
            .asked_about
            .lock()
            .unwrap()
            .push(etag.map(str::to_owned));
        let answer = self.0.answers.lock().unwrap().pop_front();
        Box::pin(async move { answer.unwrap_or(Err(FetchError::Unreachable)) })
    }
}

fn tagged(kid: &str, etag: &str) -> KeysAnswer {
    KeysAnswer {
        document: Some(key_set(kid).into()),
        etag: Some(etag.to_owned()),
        fresh_for: None,
    }
}

fn fresh_for(kid: &str, seconds: u64) -> KeysAnswer {
    KeysAnswer {
        fresh_for: Some(Duration::from_secs(seconds)),
        ..KeysAnswer::from(Bytes::from(key_set(kid)))
    }
}

#[tokio::test]
async fn an_unchanged_document_is_not_sent_again_and_makes_the_keys_young() {
    let source = Careful::default();
    let (cache, clock) = source.cache();
    source.answers(tagged("a", "\"1\""));
    source.answers(KeysAnswer::default());
    cache.refresh().await;
    clock.advance(Duration::from_secs(3600));
    cache.refresh().await;
    assert_eq!(source.asked_about(), [None, Some("\"1\"".to_owned())]);
    assert!(knows(&cache, "a", clock.now()));
    assert_eq!(cache.generation(clock.now()), Ok(1));
    assert_eq!(cache.health().age, Some(Duration::ZERO));
}

/// V16
#[tokio::test]
async fn unchanged_is_no_answer_when_nothing_is_known() {
    let source = Careful::default();
    let (cache, _) = source.cache();
    source.answers(KeysAnswer::default());
    cache.refresh().await;
    assert_eq!(kind(cache.current(START)), Some(ErrorKind::KeysUnavailable));
    assert_eq!(cache.health().last_failure, Some(FetchError::Status(304)));
}

/// V16
#[tokio::test]
async fn the_validator_of_a_refused_document_is_never_sent() {
    let source = Careful::default();
    let (cache, clock) = source.cache();
    source.answers(tagged("a", "\"1\""));
    source.answers(KeysAnswer {
        document: Some("<html>".into()),
        etag: Some("\"2\"".into()),
        fresh_for: None,
    });
    for _ in 0..3 {
        cache.refresh().await;
        clock.advance(Duration::from_secs(30));
    }
    let good = Some("\"1\"".to_owned());
    assert_eq!(source.asked_about(), [None, good.clone(), good]);
}

#[tokio::test]
async fn the_source_says_when_to_ask_again_within_limits() {
    // What it says, and after how many seconds the next use asks again; a tenth early at most.
    for (says, early, late) in [(0, 26, 30), (60, 53, 60), (86_400, 269, 300)] {
        let source = Careful::default();
        let (cache, clock) = source.cache();
        source.answers(fresh_for("a", says));
        cache.refresh().await;
        let asked = async |seconds| {
            clock.set(START.saturating_add(Duration::from_secs(seconds)));
            let _ = cache.current(clock.now());
            settle().await;
            source.asked_about().len()
        };
        assert_eq!(asked(early).await, 1, "{says} s");
        assert_eq!(asked(late).await, 2, "{says} s");
    }
}

/// V15
#[tokio::test]
async fn a_key_that_was_asked_for_and_is_not_there_does_not_spend_the_next_fetch() {
    let (cache, source, clock) = cache_with_key("a").await;
    source.answers(Ok(&key_set("a")));
    for round in 0..2 {
        clock.advance(Duration::from_secs(30));
        cache.refresh_for("invented").await;
        assert_eq!(source.asked(), 2, "round {round}");
    }
    source.answers(Ok(&key_set("b")));
    cache.refresh_for("b").await;
    assert!(
        knows(&cache, "b", clock.now()),
        "another key is asked for at once"
    );

    clock.advance(Duration::from_secs(30));
    cache.refresh_for("invented").await;
    assert_eq!(source.asked(), 4, "after two cool-downs it may be there");
}

/// V15
#[tokio::test]
async fn an_outage_says_nothing_about_a_key() {
    let (cache, source, clock) = cache_with_key("a").await;
    clock.advance(Duration::from_secs(30));
    source.answers(Err(FetchError::Unreachable));
    cache.refresh_for("b").await;
    clock.advance(Duration::from_secs(30));
    source.answers(Ok(&key_set("b")));
    cache.refresh_for("b").await;
    assert!(knows(&cache, "b", clock.now()));
}

/// V15
#[tokio::test]
async fn a_flood_waits_in_bounded_numbers_for_a_slow_issuer() {
    let (cache, source, clock) = cache_with_key("a").await;
    clock.advance(Duration::from_secs(30));
    let release = source.slows_down();
    let mut waiting = JoinSet::new();
    for n in 0..5000 {
        let cache = cache.clone();
        waiting.spawn(async move { cache.refresh_for(&format!("invented-{n}")).await });
    }
    for _ in MOST_WAITING..5000 {
        waiting.join_next().await.unwrap().unwrap();
    }
    settle().await;
    assert!(waiting.try_join_next().is_none(), "the others still wait");
    release.notify_waiters();
    waiting.join_all().await;
    assert!(cache.0.waiting.is_empty(), "every place is given back");
    assert_eq!(source.asked(), 2);
}

#[tokio::test]
async fn a_server_that_needs_keys_to_start_learns_whether_there_are_any() {
    let (cache, source, _) = cache();
    source.answers(Err(FetchError::Status(500)));
    assert_eq!(
        cache.load().await.unwrap_err().kind(),
        ErrorKind::KeysUnavailable
    );
    let (cache, source, _) = super::cache();
    source.answers(Ok(&key_set("a")));
    assert_eq!(cache.load().await, Ok(()));
}

#[tokio::test]
async fn health_tells_age_failures_and_whether_tokens_can_be_verified() {
    let (cache, source, clock) = cache();
    let none = KeysHealth {
        usable: false,
        keys: 0,
        age: None,
        failures: 0,
        last_failure: None,
    };
    assert_eq!(cache.health(), none);
    source.answers(Ok(&key_set("a")));
    cache.refresh().await;
    for error in [FetchError::Status(500), FetchError::Unreachable] {
        clock.advance(Duration::from_secs(60));
        source.answers(Err(error));
        cache.refresh().await;
    }
    let troubled = KeysHealth {
        usable: true,
        keys: 1,
        age: Some(Duration::from_secs(120)),
        failures: 2,
        last_failure: Some(FetchError::Unreachable),
    };
    assert_eq!(cache.health(), troubled);
    clock.advance(Duration::from_secs(24 * 3600));
    assert!(!cache.health().usable);
    source.answers(Ok(&key_set("a")));
    cache.refresh().await;
    let health = cache.health();
    assert_eq!(
        (health.usable, health.failures, health.last_failure),
        (true, 0, None)
    );
}

/// A file name that no other test has; removed at the end.
struct File(PathBuf);

impl File {
    fn new(name: &str) -> Self {
        let name = format!("machineauth-{}-{name}.json", std::process::id());
        Self(std::env::temp_dir().join(name))
    }

    fn cache(&self, source: &Source, clock: &ManualClock) -> JwksCache {
        JwksCache::builder(source.clone())
            .clock(Arc::new(clock.clone()))
            .snapshot_file(&self.0)
            .build()
            .unwrap()
    }

    async fn is_written(&self) {
        while !self.0.exists() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }
}

impl Drop for File {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

/// V16
#[tokio::test]
async fn a_server_starts_with_the_keys_of_its_snapshot_while_the_issuer_is_away() {
    let (file, clock) = (File::new("warm"), ManualClock::new(START));
    let source = Source::default();
    source.answers(Ok(&key_set("a")));
    file.cache(&source, &clock).refresh().await;
    file.is_written().await;
    assert_eq!(owner_only(&file.0), Some(true));

    clock.advance(Duration::from_secs(3600));
    let away = Source(Arc::clone(&source.0));
    let restarted = file.cache(&away, &clock);
    assert!(knows(&restarted, "a", clock.now()));
    assert_eq!(restarted.health().age, Some(Duration::from_secs(3600)));
    settle().await;
    assert_eq!(away.asked(), 2, "the first use asks for present ones");

    clock.advance(Duration::from_secs(23 * 3600));
    let too_late = file.cache(&away, &clock);
    assert!(
        !knows(&too_late, "a", clock.now()),
        "a restart makes no key younger"
    );
}

#[cfg(unix)]
fn owner_only(path: &std::path::Path) -> Option<bool> {
    use std::os::unix::fs::PermissionsExt as _;
    let mode = std::fs::metadata(path).ok()?.permissions().mode();
    Some(mode & 0o077 == 0)
}

/// V8, V16
#[tokio::test]
async fn a_snapshot_that_is_broken_or_of_another_source_is_ignored() {
    let (file, clock) = (File::new("broken"), ManualClock::new(START));
    let good = |source: String, fetched_at: u64, document: String| {
        serde_json::json!({ "source": source, "fetched_at": fetched_at, "document": document })
            .to_string()
    };
    let source = Source::default();
    let ours = format!("{source:?}");
    for text in [
        String::new(),
        "{}".to_owned(),
        good(
            "HttpKeys(https://elsewhere.example)".into(),
            0,
            key_set("a"),
        ),
        good(ours.clone(), START.as_millis(), "{\"keys\":[]}".into()),
        good(ours, START.as_millis(), "<html>".into()),
    ] {
        std::fs::write(&file.0, &text).unwrap();
        let cache = file.cache(&source, &clock);
        assert_eq!(
            kind(cache.current(START)),
            Some(ErrorKind::KeysUnavailable),
            "{text}"
        );
    }
}

/// V21
#[tokio::test]
async fn a_snapshot_from_the_future_is_as_old_as_now() {
    let (file, clock) = (File::new("future"), ManualClock::new(START));
    let source = Source::default();
    let document = serde_json::json!({
        "source": format!("{source:?}"), "fetched_at": u64::MAX, "document": key_set("a"),
    });
    std::fs::write(&file.0, document.to_string()).unwrap();
    let cache = file.cache(&source, &clock);
    assert!(knows(&cache, "a", START));
    clock.advance(Duration::from_secs(24 * 3600));
    assert!(!knows(&cache, "a", clock.now()));
}
