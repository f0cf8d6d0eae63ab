//! The background of the edge: issuers, health checks, changes of the configuration, and the end.

use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use arc_swap::ArcSwap;
use async_trait::async_trait;
use pingora_core::server::ShutdownWatch;
use pingora_core::services::ServiceReadyNotifier;
use pingora_core::services::background::BackgroundService;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::task::JoinSet;
use tokio::time::{MissedTickBehavior, interval, sleep};

use super::access_log::AccessLog;
use super::config::{AdminToml, ConfigError, Contents, EdgeToml, ListenerToml, ServerToml, Source};
use super::health;
use super::issuers;
use super::snapshot::{Snapshot, Surroundings};
use super::tls::ListenerTls;
use super::watch::Watch;

/// How often the files are looked at.
const LOOK: Duration = Duration::from_millis(500);
/// How often it is looked whether requests are left over, once the edge is to end.
const LOOK_AT_END: Duration = Duration::from_millis(50);
/// How long nothing must be under way before the edge ends: what has just been accepted is no request yet.
const QUIET_AT_END: u32 = 5;

/// Keeps what is in force equal to the files.
pub(crate) struct Keeper {
    pub(crate) path: PathBuf,
    pub(crate) around: Surroundings,
    pub(crate) current: Arc<ArcSwap<Snapshot>>,
    pub(crate) fixed: Fixed,
    pub(crate) access_log: Option<AccessLog>,
    pub(crate) watch: Mutex<Watch>,
}

/// What counts from the next start only.
#[derive(Debug)]
pub(crate) struct Fixed {
    pub(crate) server: ServerToml,
    pub(crate) listeners: Vec<ListenerToml>,
    pub(crate) admin: Option<AdminToml>,
    /// Of each listener that has one; what they show can change all the same.
    pub(crate) tls: Vec<Option<ListenerTls>>,
}

impl Fixed {
    /// # Errors
    /// What is wrong with a listener.
    pub(crate) fn take(source: &Source, toml: &mut EdgeToml) -> Result<Self, ConfigError> {
        let listeners = std::mem::take(&mut toml.listeners);
        let tls = listeners.iter().map(|listener| {
            let tls = listener.get_ref().tls.as_ref();
            tls.map(|tls| ListenerTls::read(source, tls, listener.span()))
                .transpose()
        });
        if listeners.is_empty() {
            return Err(source.fault(None, "there is no `[[listener]]`"));
        }
        Ok(Self {
            tls: tls.collect::<Result<_, _>>()?,
            server: std::mem::take(&mut toml.server),
            admin: toml.admin.take(),
            listeners: listeners
                .into_iter()
                .map(toml::Spanned::into_inner)
                .collect(),
        })
    }

    /// The listeners that speak TLS.
    fn secure(&self) -> impl Iterator<Item = (SocketAddr, &ListenerTls)> {
        let listeners = self.listeners.iter().zip(&self.tls);
        listeners.filter_map(|(listener, tls)| Some((listener.address.0, tls.as_ref()?)))
    }

    fn tls_at(&self, address: SocketAddr) -> Option<&ListenerTls> {
        let mut secure = self.secure();
        secure.find(|(own, _)| *own == address).map(|(_, tls)| tls)
    }

    fn needs_restart(&self, new: &Self) -> bool {
        self.server != new.server || self.listeners != new.listeners || self.admin != new.admin
    }
}

/// A configuration that was read and can be put in force.
struct Prepared {
    snapshot: Snapshot,
    fixed: Fixed,
    contents: Contents,
}

#[async_trait]
impl BackgroundService for Keeper {
    async fn start_with_ready_notifier(
        &self,
        mut shutdown: ShutdownWatch,
        ready: ServiceReadyNotifier,
    ) {
        self.around.home.settle();
        // From the first moment on: until somebody listens to it, the signal ends the process.
        let hang_ups = signal(SignalKind::hangup());
        let snapshot = self.current.load_full();
        self.meet_neighbours(&snapshot).await;
        let mut watchers = self.watch_servers(&snapshot);
        drop(snapshot);
        ready.notify_ready();
        let over = async {
            // A server that is gone without a word is over as well.
            let _ = shutdown.wait_for(|is_over| *is_over).await;
        };
        tokio::select! {
            () = self.follow(hang_ups, &mut watchers) => {}
            () = over => self.end().await,
        }
    }
}

impl Keeper {
    /// Puts in force what the files say, whenever that changes.
    async fn follow(&self, hang_ups: io::Result<Signal>, watchers: &mut JoinSet<()>) {
        let mut hang_ups = match hang_ups {
            Ok(hang_ups) => hang_ups,
            Err(error) => {
                tracing::error!(%error, "SIGHUP cannot be listened to, so changes of the files are not followed");
                return std::future::pending().await;
            }
        };
        let mut looks = interval(LOOK);
        looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            let is_asked = tokio::select! {
                _ = looks.tick() => false,
                _ = hang_ups.recv() => true,
            };
            if is_asked || self.has_changed().await {
                self.reload(watchers).await;
            }
        }
    }

    async fn has_changed(&self) -> bool {
        let read = self.watch().read().clone();
        // A file system that hangs must not hold up what else goes on here.
        let looking = tokio::task::spawn_blocking(move || read.read_again());
        match looking.await {
            Ok(now) => self.watch().look(now),
            Err(_) => false,
        }
    }

    fn watch(&self) -> MutexGuard<'_, Watch> {
        self.watch.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn reload(&self, watchers: &mut JoinSet<()>) {
        let prepared = match self.prepare() {
            Ok(prepared) => prepared,
            Err(error) => {
                self.around.metrics.reloaded(false);
                tracing::error!(%error, "the configuration in force stays, since the new one is wrong");
                return;
            }
        };
        if self.fixed.needs_restart(&prepared.fixed) {
            tracing::warn!(
                "changes of `server`, `listener` and `admin` count from the next start (or upgrade)"
            );
        }
        for (address, own) in self.fixed.secure() {
            if let Some(new) = prepared.fixed.tls_at(address) {
                own.take_over(new);
            }
        }
        let snapshot = Arc::new(prepared.snapshot);
        self.meet_neighbours(&snapshot).await;
        // Before anybody is forgotten: those who still watch would tell of them again.
        watchers.shutdown().await;
        self.around.metrics.forget_neighbours();
        *watchers = self.watch_servers(&snapshot);
        let routes = snapshot.routes.iter().count();
        self.current.store(snapshot);
        self.around.metrics.reloaded(true);
        tracing::info!(routes, "the new configuration is in force");
    }

    fn prepare(&self) -> Result<Prepared, ConfigError> {
        let prepared = self.read();
        // What was read, and not what is there by now: a file that has been mended meanwhile is news.
        let contents = match &prepared {
            Ok(prepared) => prepared.contents.clone(),
            Err(error) => error.contents(),
        };
        *self.watch() = Watch::over(contents);
        prepared
    }

    fn read(&self) -> Result<Prepared, ConfigError> {
        let (source, mut toml) = Source::read(&self.path)?;
        let fixed = Fixed::take(&source, &mut toml)?;
        let before = self.current.load();
        let snapshot = Snapshot::build(&source, toml, &self.around, Some(&before))?;
        Ok(Prepared {
            snapshot,
            fixed,
            contents: source.contents(),
        })
    }

    /// Follows the issuers from now on, and waits for what requests need of them and of the servers, within the patience.
    async fn meet_neighbours(&self, snapshot: &Snapshot) {
        let patience = self.fixed.server.patience.0;
        tokio::join!(
            issuers::start(&snapshot.issuers, patience),
            health::look_up_all(&snapshot.pools, patience),
        );
    }

    /// Watches the servers until the set is dropped.
    fn watch_servers(&self, snapshot: &Snapshot) -> JoinSet<()> {
        let mut watchers = JoinSet::new();
        for pool in &snapshot.pools {
            for number in 0..pool.servers().len() {
                let metrics = self.around.metrics.clone();
                watchers.spawn(health::watch(Arc::clone(pool), number, metrics));
            }
        }
        watchers
    }

    /// Ends the process as soon as nothing is under way. Pingora would wait out the grace period in any case, and ends what is
    /// left over then.
    async fn end(&self) {
        tracing::info!("stopping: requests under way may finish");
        let mut quiet = 0;
        while quiet < QUIET_AT_END {
            sleep(LOOK_AT_END).await;
            quiet = match self.around.metrics.in_flight() {
                0 => quiet + 1,
                _ => 0,
            };
        }
        if let Some(log) = &self.access_log {
            log.written().await;
        }
        tracing::info!("stopped");
        std::process::exit(0);
    }
}
