//! What runs beside requests, from the start of the server to its end.

use std::sync::Arc;

use tokio::task::JoinHandle;

use super::App;
use crate::store::StoreError;

impl App {
    /// Starts what runs beside requests: the revocation feed, the rotation of keys, the audit trail and its verification,
    /// deliveries to webhooks, the maintenance of the store, the watch on the TLS certificate.
    pub fn start_background(&self) -> Background {
        let feed = self.clone();
        let app = self.clone();
        let keys = Arc::clone(&self.keys);
        let certificates = self.certificates.clone().map(|certificates| {
            let clock = Arc::clone(&self.clock);
            tokio::spawn(async move { certificates.follow(&*clock).await })
        });
        let (recorder, sealer) = (Arc::clone(&self.recorder), Arc::clone(&self.sealer));
        let verification = Arc::clone(&self.verification);
        let delivering = Arc::clone(&self.delivering);
        Background {
            app: self.clone(),
            feed: tokio::spawn(async move { feed.feed.run().await }),
            keys: tokio::spawn(async move { keys.run().await }),
            recorder: tokio::spawn(async move { recorder.run().await }),
            sealer: tokio::spawn(async move { sealer.run().await }),
            verification: tokio::spawn(async move { verification.run().await }),
            delivering: tokio::spawn(async move { delivering.run().await }),
            maintenance: tokio::spawn(async move { app.maintenance().run().await }),
            certificates,
        }
    }
}

/// What runs beside requests.
#[derive(Debug)]
pub struct Background {
    app: App,
    feed: JoinHandle<()>,
    keys: JoinHandle<()>,
    recorder: JoinHandle<()>,
    delivering: JoinHandle<()>,
    sealer: JoinHandle<()>,
    verification: JoinHandle<()>,
    maintenance: JoinHandle<()>,
    certificates: Option<JoinHandle<()>>,
}

impl Background {
    /// Ends the streams of all listeners, so that a graceful stop need not wait for them.
    pub fn end_streams(&self) {
        self.app.feed.stop();
    }

    /// Stops everything and closes the store.
    ///
    /// # Errors
    /// When the store cannot be closed cleanly.
    pub async fn stop(self) -> Result<(), StoreError> {
        self.app.feed.stop();
        self.app.delivering.stop();
        self.maintenance.abort();
        self.keys.abort();
        if let Some(certificates) = &self.certificates {
            certificates.abort();
        }
        self.recorder.abort();
        self.sealer.abort();
        self.verification.abort();
        // All ways of ending are fine: the feed and the deliveries return, the others are cut off between two steps.
        let _ = tokio::join!(
            self.feed,
            self.delivering,
            self.maintenance,
            self.keys,
            self.recorder,
            self.sealer,
            self.verification
        );
        self.app.recorder.flush().await?;
        self.app.sealer.release().await?;
        self.app.store.close().await
    }
}
