use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::sync::Notify;
use tokio::task::yield_now;

use super::*;
use crate::clock::ManualClock;

const HOUR: Duration = Duration::from_secs(3600);

/// An issuer whose answers are set beforehand, and that answers when it is let.
#[derive(Debug)]
struct Scripted {
    asked: AtomicUsize,
    life: Mutex<Duration>,
    failure: Mutex<Option<TokenError>>,
    held_back: Mutex<bool>,
    go: Notify,
}

#[derive(Clone, Debug)]
struct Issuer(Arc<Scripted>);

impl RequestToken for Issuer {
    fn request(&self) -> RequestFuture<'_> {
        Box::pin(async {
            let number = self.0.asked.fetch_add(1, Ordering::SeqCst);
            if *self.0.held_back.lock().unwrap() {
                self.0.go.notified().await;
            }
            match *self.0.failure.lock().unwrap() {
                Some(error) => Err(error),
                None => Ok(IssuedToken {
                    text: format!("token-{number}"),
                    expires_in: Some(*self.0.life.lock().unwrap()),
                    scope: None,
                }),
            }
        })
    }
}

struct Stage {
    issuer: Issuer,
    clock: ManualClock,
    source: Renewing,
}

impl Stage {
    fn new(life: Duration) -> Self {
        let issuer = Issuer(Arc::new(Scripted {
            asked: AtomicUsize::new(0),
            life: Mutex::new(life),
            failure: Mutex::default(),
            held_back: Mutex::default(),
            go: Notify::new(),
        }));
        let clock = ManualClock::new(Timestamp::from_secs(1_800_000_000));
        let source = Renewing::new(
            issuer.clone(),
            Arc::new(clock.clone()),
            Duration::from_secs(5),
        );
        Self {
            issuer,
            clock,
            source,
        }
    }

    fn asked(&self) -> usize {
        self.issuer.0.asked.load(Ordering::SeqCst)
    }

    fn fails_with(&self, error: Option<TokenError>) {
        *self.issuer.0.failure.lock().unwrap() = error;
    }

    fn holds_back(&self, held_back: bool) {
        *self.issuer.0.held_back.lock().unwrap() = held_back;
        if !held_back {
            self.issuer.0.go.notify_one();
        }
    }

    async fn text(&self) -> String {
        self.source.token().await.unwrap().expose().to_owned()
    }

    async fn kind(&self) -> TokenErrorKind {
        self.source.token().await.unwrap_err().kind()
    }
}

/// Lets tasks that were spawned run until they wait.
async fn settle() {
    for _ in 0..10 {
        yield_now().await;
    }
}

#[tokio::test]
async fn one_token_serves_until_it_is_due_and_the_old_one_while_it_is_renewed() {
    let stage = Stage::new(HOUR);
    for _ in 0..100 {
        assert_eq!(stage.text().await, "token-0");
    }
    stage.clock.advance(HOUR - RENEWAL_WINDOW * 2);
    assert_eq!(stage.text().await, "token-0");
    settle().await;
    assert_eq!(stage.asked(), 1);

    stage.clock.advance(RENEWAL_WINDOW);
    stage.holds_back(true);
    for _ in 0..100 {
        assert_eq!(stage.text().await, "token-0", "nobody waits for a renewal");
        yield_now().await;
    }
    assert_eq!(stage.asked(), 2, "one renewal, whoever asks");
    stage.holds_back(false);
    settle().await;
    assert_eq!(stage.text().await, "token-1");
}

#[tokio::test]
async fn a_short_token_is_renewed_a_fifth_of_its_life_ahead() {
    let stage = Stage::new(Duration::from_secs(60));
    stage.text().await;
    stage.clock.advance(Duration::from_secs(46));
    stage.text().await;
    settle().await;
    assert_eq!(stage.asked(), 1);
    stage.clock.advance(Duration::from_secs(2));
    stage.text().await;
    settle().await;
    assert_eq!(stage.asked(), 2);
}

#[tokio::test]
async fn a_thousand_callers_without_a_token_wait_for_one_request() {
    let stage = Stage::new(HOUR);
    stage.holds_back(true);
    let callers: Vec<_> = (0..1000)
        .map(|_| {
            let source = stage.source.clone();
            tokio::spawn(async move { source.token().await.map(|token| token.serial) })
        })
        .collect();
    settle().await;
    stage.holds_back(false);
    for caller in callers {
        assert_eq!(caller.await.unwrap(), Ok(0));
    }
    assert_eq!(stage.asked(), 1);
}

#[tokio::test]
async fn a_caller_that_goes_away_does_not_end_the_request() {
    let stage = Stage::new(HOUR);
    stage.holds_back(true);
    let source = stage.source.clone();
    let caller = tokio::spawn(async move { source.token().await.map(drop) });
    settle().await;
    caller.abort();
    stage.holds_back(false);
    settle().await;
    assert_eq!(stage.text().await, "token-0");
    assert_eq!(stage.asked(), 1);
}

#[tokio::test(start_paused = true)]
async fn nobody_waits_longer_than_its_patience() {
    let stage = Stage::new(HOUR);
    stage.holds_back(true);
    assert_eq!(stage.kind().await, TokenErrorKind::TimedOut);
}

#[tokio::test]
async fn after_a_failure_the_issuer_is_left_alone_for_a_pause_that_grows() {
    let stage = Stage::new(HOUR);
    stage.fails_with(Some(TokenErrorKind::Unreachable.into()));
    for failures in 0..10 {
        assert_eq!(stage.kind().await, TokenErrorKind::Unreachable);
        assert_eq!(stage.asked(), failures + 1);
        let longest = PAUSES
            .first
            .saturating_mul(1 << failures)
            .min(PAUSES.longest);
        stage.clock.advance(longest / 2 - Duration::from_millis(1));
        assert_eq!(stage.kind().await, TokenErrorKind::Unreachable);
        assert_eq!(stage.asked(), failures + 1, "too early");
        stage.clock.advance(longest / 2 + Duration::from_millis(1));
    }
    stage.fails_with(None);
    assert_eq!(stage.text().await, "token-10");
}

#[tokio::test]
async fn a_pause_that_the_issuer_asks_for_is_kept_and_told() {
    let stage = Stage::new(HOUR);
    let busy = TokenError::new(TokenErrorKind::Unavailable);
    stage.fails_with(Some(busy.retry_after(Some(Duration::from_secs(30)))));
    assert_eq!(stage.kind().await, TokenErrorKind::Unavailable);
    stage.clock.advance(Duration::from_secs(29));
    stage.fails_with(None);
    let error = stage.source.token().await.unwrap_err();
    assert_eq!(error.asked_pause(), Some(Duration::from_secs(1)));
    assert_eq!(stage.asked(), 1);
    stage.clock.advance(Duration::from_secs(1));
    assert_eq!(stage.text().await, "token-1");
}

#[tokio::test]
async fn a_token_that_cannot_be_renewed_serves_until_it_expires() {
    let stage = Stage::new(HOUR);
    stage.text().await;
    stage.fails_with(Some(TokenErrorKind::Unreachable.into()));
    stage.clock.advance(HOUR - Duration::from_secs(11));
    assert_eq!(stage.text().await, "token-0");
    settle().await;
    assert_eq!(stage.text().await, "token-0");
    assert_eq!(stage.asked(), 2, "the failed renewal has its pause");
    stage.clock.advance(Duration::from_secs(1));
    assert_eq!(
        stage.kind().await,
        TokenErrorKind::Unreachable,
        "ten seconds before its end a token is not sent any more"
    );
}

#[tokio::test]
async fn a_refused_token_is_replaced_once_and_not_again_right_away() {
    let stage = Stage::new(HOUR);
    let first = stage.source.token().await.unwrap();
    assert!(stage.source.refused(&first));
    let second = stage.source.token().await.unwrap();
    assert_eq!(second.expose(), "token-1");
    assert!(
        stage.source.refused(&first),
        "there is another token already"
    );
    assert_eq!(stage.text().await, "token-1");
    assert!(!stage.source.refused(&second), "that was a moment ago");
    assert_eq!(stage.text().await, "token-1");
    stage.clock.advance(BETWEEN_REFUSALS);
    assert!(stage.source.refused(&second));
    assert_eq!(stage.text().await, "token-2");
    assert_eq!(stage.asked(), 3);
}

#[tokio::test]
async fn a_clock_that_is_put_back_does_not_silence_the_source() {
    let stage = Stage::new(HOUR);
    stage.fails_with(Some(TokenErrorKind::Unreachable.into()));
    stage.kind().await;
    stage.clock.set(Timestamp::from_secs(1_700_000_000));
    stage.fails_with(None);
    assert_eq!(stage.text().await, "token-1");
}

#[tokio::test]
async fn a_token_without_life_is_none() {
    let stage = Stage::new(Duration::ZERO);
    assert_eq!(stage.kind().await, TokenErrorKind::MalformedAnswer);
    assert_eq!(stage.kind().await, TokenErrorKind::MalformedAnswer);
    assert_eq!(stage.asked(), 1);
}

/// I21
#[tokio::test]
async fn debug_shows_no_token() {
    let stage = Stage::new(HOUR);
    let token = stage.source.token().await.unwrap();
    let shown = format!("{token:?} {:?} {:?}", stage.source, token.authorization());
    assert!(!shown.contains("token-0"), "{shown}");
}

#[test]
fn outside_a_runtime_there_is_an_error_and_no_panic() {
    let stage = Stage::new(HOUR);
    assert!(stage.source.current().is_none());
    let mut waiting = stage.source.token();
    let mut context = std::task::Context::from_waker(std::task::Waker::noop());
    let polled = waiting.as_mut().poll(&mut context);
    assert!(matches!(
        polled,
        std::task::Poll::Ready(Err(error)) if error.kind() == TokenErrorKind::NoRuntime
    ));
}
