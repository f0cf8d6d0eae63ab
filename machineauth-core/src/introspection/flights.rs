use std::collections::HashMap;
use std::future::Future;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::runtime::Handle;
use tokio::sync::watch;

use super::Verdict;

/// The questions under way: one per token, and not too many.
#[derive(Debug)]
pub(super) struct Flights {
    under_way: Arc<Mutex<UnderWay>>,
    most: usize,
}

type UnderWay = HashMap<Arc<str>, watch::Receiver<Option<Verdict>>>;

impl Flights {
    pub(super) fn new(most: usize) -> Self {
        Self {
            under_way: Arc::default(),
            most,
        }
    }

    /// Joins the question about `token`, or starts it with `ask`. `None` when too many are under way, or outside a Tokio
    /// runtime.
    pub(super) fn join_or_start<F>(
        &self,
        token: &str,
        ask: impl FnOnce(Arc<str>) -> F,
    ) -> Option<Landing>
    where
        F: Future<Output = Verdict> + Send + 'static,
    {
        let mut under_way = lock(&self.under_way);
        if let Some(landing) = under_way.get(token) {
            return Some(Landing(landing.clone()));
        }
        let runtime = Handle::try_current().ok()?;
        if under_way.len() >= self.most {
            return None;
        }
        let token: Arc<str> = token.into();
        let (sender, landing) = watch::channel(None);
        under_way.insert(Arc::clone(&token), landing.clone());
        let entry = Entry {
            token: Arc::clone(&token),
            under_way: Arc::clone(&self.under_way),
        };
        let asking = ask(token);
        // A task of its own: a client that hangs up must not end a question that others wait for.
        runtime.spawn(async move {
            let verdict = asking.await;
            // The answer is in the cache by now; whoever comes later finds it there.
            drop(entry);
            sender.send_replace(Some(verdict));
        });
        Some(Landing(landing))
    }
}

/// A question that somebody waits for.
pub(super) struct Landing(watch::Receiver<Option<Verdict>>);

impl Landing {
    /// The answer; `None` when whoever asked went away without one.
    pub(super) async fn verdict(mut self) -> Option<Verdict> {
        let landed = self.0.wait_for(Option::is_some).await.ok()?;
        landed.clone()
    }
}

/// Takes a question off the list when it is over, even by a panic.
struct Entry {
    token: Arc<str>,
    under_way: Arc<Mutex<UnderWay>>,
}

impl Drop for Entry {
    fn drop(&mut self) {
        lock(&self.under_way).remove(&*self.token);
    }
}

fn lock(under_way: &Mutex<UnderWay>) -> MutexGuard<'_, UnderWay> {
    under_way.lock().unwrap_or_else(PoisonError::into_inner)
}
