mod keeping;

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, Ordering};

use tokio::sync::Notify;
use tokio::task::JoinSet;

use super::*;
use crate::clock::ManualClock;
use crate::crypto::Algorithm;

const START: Timestamp = Timestamp::from_secs(1_000_000);

/// Answers as told; what it was not told about is an outage.
#[derive(Clone, Debug, Default)]
struct Source(Arc<SourceState>);

#[derive(Debug, Default)]
struct SourceState {
    answers: Mutex<VecDeque<Result<Bytes, FetchError>>>,
    asked: AtomicU64,
    slow: Mutex<Option<Arc<Notify>>>,
}

impl Source {
    fn answers(&self, answer: Result<&str, FetchError>) {
        let answer = answer.map(|text| Bytes::copy_from_slice(text.as_bytes()));
        self.0.answers.lock().unwrap().push_back(answer);
    }

    /// Each answer waits until it is released.
    fn slows_down(&self) -> Arc<Notify> {
        let release = Arc::new(Notify::new());
        *self.0.slow.lock().unwrap() = Some(Arc::clone(&release));
        release
    }

    fn asked(&self) -> u64 {
        self.0.asked.load(Ordering::SeqCst)
    }
}

impl FetchKeys for Source {
    fn fetch(&self) -> FetchFuture<'_> {
        self.0.asked.fetch_add(1, Ordering::SeqCst);
        let slow = self.0.slow.lock().unwrap().clone();
        Box::pin(async move {
            if let Some(release) = slow {
                release.notified().await;
            }
            let answer = self.0.answers.lock().unwrap().pop_front();
            answer.unwrap_or(Err(FetchError::Unreachable))
        })
    }
}

fn key_set(kid: &str) -> String {
    format!(
        r#"{{"keys":[{{"kty":"EC","crv":"P-256","alg":"ES256","kid":"{kid}",
            "x":"MKBCTNIcKUSDii11ySs3526iDZ8AiTo7Tu6KPAqv7D4","y":"4Etl6SRW2YiLUrN5vfvVHuhp7x8PxltmWWlbbM4IFyM"}}]}}"#
    )
}

fn cache() -> (JwksCache, Source, ManualClock) {
    let (source, clock) = (Source::default(), ManualClock::new(START));
    let cache = JwksCache::builder(source.clone())
        .clock(Arc::new(clock.clone()))
        .build()
        .unwrap();
    (cache, source, clock)
}

async fn cache_with_key(kid: &str) -> (JwksCache, Source, ManualClock) {
    let (cache, source, clock) = cache();
    source.answers(Ok(&key_set(kid)));
    cache.refresh().await;
    assert!(knows(&cache, kid, START));
    (cache, source, clock)
}

fn knows(cache: &JwksCache, kid: &str, now: Timestamp) -> bool {
    cache
        .current(now)
        .is_ok_and(|keys| keys.set().find(Some(kid), Algorithm::ES256).is_ok())
}

fn kind(result: Result<Arc<Keys>, Error>) -> Option<ErrorKind> {
    result.err().map(|error| error.kind())
}

/// Lets spawned tasks run to where they wait.
async fn settle() {
    for _ in 0..20 {
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn nothing_is_fetched_before_it_is_needed() {
    let (cache, source, _) = cache();
    assert_eq!(kind(cache.current(START)), Some(ErrorKind::KeysUnavailable));
    settle().await;
    assert_eq!(source.asked(), 0);
}

#[tokio::test]
async fn everybody_who_misses_a_key_waits_for_one_fetch() {
    let (cache, source, _) = cache();
    let release = source.slows_down();
    source.answers(Ok(&key_set("a")));
    let mut waiting = JoinSet::new();
    for _ in 0..100 {
        let cache = cache.clone();
        waiting.spawn(async move {
            cache.refresh().await;
            knows(&cache, "a", START)
        });
    }
    settle().await;
    release.notify_waiters();
    assert!(waiting.join_all().await.into_iter().all(|known| known));
    assert_eq!(source.asked(), 1);
}

/// V15
#[tokio::test]
async fn a_flood_of_unknown_keys_causes_one_fetch_per_cool_down_and_a_rotation_gets_through() {
    let (cache, source, clock) = cache_with_key("old").await;
    let flood = async || {
        for _ in 0..10_000 {
            cache.refresh().await;
        }
    };
    flood().await;
    assert_eq!(source.asked(), 1, "the first answer is still cooling down");

    clock.advance(Duration::from_secs(30));
    source.answers(Ok(&key_set("new")));
    flood().await;
    assert_eq!(source.asked(), 2);
    assert!(knows(&cache, "new", clock.now()));
    assert!(!knows(&cache, "old", clock.now()));
}

/// V15
#[tokio::test]
async fn a_flood_while_the_issuer_is_down_causes_one_fetch_per_cool_down() {
    let (cache, source, clock) = cache_with_key("a").await;
    for minute in 1..=10 {
        clock.advance(Duration::from_secs(30));
        for _ in 0..100 {
            cache.refresh().await;
        }
        assert_eq!(source.asked(), 1 + minute);
    }
    assert!(knows(&cache, "a", clock.now()));
}

/// V15
#[tokio::test(start_paused = true)]
async fn patience_with_a_slow_issuer_is_bounded_and_valid_traffic_does_not_wait_at_all() {
    let (cache, source, clock) = cache_with_key("a").await;
    clock.advance(Duration::from_secs(30));
    let release = source.slows_down();
    source.answers(Ok(&key_set("b")));

    let before = tokio::time::Instant::now();
    cache.refresh().await;
    assert_eq!(before.elapsed(), Duration::from_secs(5));
    assert!(knows(&cache, "a", clock.now()));

    release.notify_waiters();
    settle().await;
    assert!(knows(&cache, "b", clock.now()), "the attempt went on");
}

#[tokio::test(start_paused = true)]
async fn an_attempt_that_never_ends_is_given_up() {
    let (cache, source, clock) = cache_with_key("a").await;
    clock.advance(Duration::from_secs(30));
    source.slows_down();
    cache.refresh().await;
    tokio::time::sleep(FETCH_TIMEOUT).await;

    clock.advance(Duration::from_secs(30));
    source.0.slow.lock().unwrap().take();
    source.answers(Ok(&key_set("b")));
    cache.refresh().await;
    assert!(knows(&cache, "b", clock.now()));
}

#[tokio::test]
async fn a_caller_that_goes_away_does_not_stop_the_fetch() {
    let (cache, source, _) = cache();
    let release = source.slows_down();
    source.answers(Ok(&key_set("a")));
    let caller = tokio::spawn({
        let cache = cache.clone();
        async move { cache.refresh().await }
    });
    settle().await;
    caller.abort();
    settle().await;
    release.notify_waiters();
    settle().await;
    assert!(knows(&cache, "a", START));
}

/// V16
#[tokio::test]
async fn a_bad_answer_never_replaces_good_keys() {
    let bad_answers = [
        Ok("<html>It works!</html>"),
        Ok(""),
        Ok("{}"),
        Ok(r#"{"keys":[]}"#),
        Ok(r#"{"keys":[{"kty":"quantum","kid":"a"}]}"#),
        Ok(r#"{"keys":[{"#),
        Err(FetchError::Status(304)),
        Err(FetchError::TooLarge),
    ];
    for answer in bad_answers {
        let (cache, source, clock) = cache_with_key("a").await;
        clock.advance(Duration::from_secs(30));
        source.answers(answer);
        cache.refresh().await;
        assert_eq!(source.asked(), 2);
        assert!(knows(&cache, "a", clock.now()), "{answer:?}");
        assert_eq!(cache.generation(clock.now()).unwrap(), 1, "{answer:?}");
    }
}

/// V16
#[tokio::test]
async fn the_last_good_keys_serve_through_an_outage_until_their_stated_age_and_come_back_after_it()
{
    let (cache, source, clock) = cache_with_key("a").await;
    let day = Duration::from_secs(24 * 60 * 60);
    clock.advance(day - Duration::from_millis(1));
    assert!(knows(&cache, "a", clock.now()));
    settle().await;

    clock.advance(Duration::from_millis(1));
    assert_eq!(
        kind(cache.current(clock.now())),
        Some(ErrorKind::KeysUnavailable)
    );

    clock.advance(Duration::from_secs(30));
    source.answers(Ok(&key_set("a")));
    cache.refresh().await;
    assert!(knows(&cache, "a", clock.now()));
}

#[tokio::test]
async fn keys_that_are_due_are_refreshed_in_the_background_of_the_next_use() {
    let (cache, source, clock) = cache_with_key("a").await;
    clock.advance(Duration::from_secs(4 * 60));
    assert!(knows(&cache, "a", clock.now()));
    settle().await;
    assert_eq!(source.asked(), 1);

    clock.advance(Duration::from_secs(60));
    source.answers(Ok(&key_set("b")));
    assert!(knows(&cache, "a", clock.now()), "this use does not wait");
    settle().await;
    assert!(knows(&cache, "b", clock.now()));
    assert_eq!(source.asked(), 2);
}

#[tokio::test]
async fn the_same_document_again_is_no_new_generation_but_makes_the_keys_young() {
    let (cache, source, clock) = cache_with_key("a").await;
    let half_a_day = Duration::from_secs(12 * 60 * 60);
    for _ in 0..4 {
        clock.advance(half_a_day);
        source.answers(Ok(&key_set("a")));
        cache.refresh().await;
        assert_eq!(cache.generation(clock.now()).unwrap(), 1);
    }
    clock.advance(Duration::from_secs(30));
    source.answers(Ok(&key_set("b")));
    cache.refresh().await;
    assert_eq!(cache.generation(clock.now()).unwrap(), 2);
    assert_eq!(cache.current(clock.now()).unwrap().generation(), 2);
}

#[tokio::test]
async fn an_api_that_starts_before_its_issuer_asks_again_soon_then_less_and_less() {
    let (cache, source, clock) = cache();
    let mut asked_after = Vec::new();
    for second in 0..120 {
        let before = source.asked();
        cache.refresh().await;
        if source.asked() > before {
            asked_after.push(second);
        }
        clock.advance(Duration::from_secs(1));
    }
    assert_eq!(asked_after, [0, 1, 3, 7, 15, 31, 61, 91]);
}

/// V21
#[tokio::test]
async fn a_clock_that_is_put_back_does_not_freeze_the_cache() {
    let (cache, source, clock) = cache_with_key("a").await;
    clock.set(Timestamp::from_secs(1000));
    source.answers(Ok(&key_set("b")));
    cache.refresh().await;
    assert!(knows(&cache, "b", clock.now()));
}

#[tokio::test]
async fn a_source_that_panics_leaves_the_cache_working() {
    #[derive(Debug)]
    struct Broken;
    impl FetchKeys for Broken {
        fn fetch(&self) -> FetchFuture<'_> {
            Box::pin(async { panic!("a source with a defect") })
        }
    }
    let clock = ManualClock::new(START);
    let cache = JwksCache::builder(Broken)
        .clock(Arc::new(clock.clone()))
        .build()
        .unwrap();
    for _ in 0..3 {
        cache.refresh().await;
        clock.advance(Duration::from_secs(30));
    }
    assert_eq!(
        kind(cache.current(clock.now())),
        Some(ErrorKind::KeysUnavailable)
    );
}

#[test]
fn without_a_runtime_nothing_is_fetched_and_nothing_panics() {
    let (cache, source, clock) = cache();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .build()
        .unwrap();
    source.answers(Ok(&key_set("a")));
    runtime.block_on(cache.refresh());
    drop(runtime);
    clock.advance(Duration::from_secs(60 * 60));
    assert!(knows(&cache, "a", clock.now()));
    assert_eq!(source.asked(), 1);
}

#[test]
fn limits_that_contradict_each_other_are_refused() {
    let builder = || JwksCache::builder(Source::default());
    let second = Duration::from_secs(1);
    for contradiction in [
        builder().cool_down(Duration::ZERO),
        builder().cool_down(10 * second).refresh_every(9 * second),
        builder().refresh_every(60 * second).max_age(59 * second),
    ] {
        let error = contradiction.build().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidConfiguration);
    }
}
