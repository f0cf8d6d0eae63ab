//! What is done to a scene, and what is healed again.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::time::sleep;

use super::book::Book;
use super::history::Moment;
use super::scene::{Member, Scene};
use crate::dice::Dice;
use crate::fault_proxy::{FaultProxy, Trouble};

/// How long a fault lasts, in milliseconds.
const LASTS: (usize, usize) = (200, 2_000);
/// How long it is quiet after one, in milliseconds.
const QUIET: (usize, usize) = (200, 1_000);
/// How long a file cannot grow, in milliseconds.
const FULL: (usize, usize) = (1_000, 3_000);
/// How far a clock steps at most, in seconds: less than what a dead row is kept beyond its time, and than what
/// resource servers allow for.
const STEP: usize = 20;

/// What can be done.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Fault {
    /// A process is killed (SIGKILL), and started again.
    Kill(Victim),
    /// A network fails.
    Network(Link, Weather),
    /// The store's file cannot grow.
    FullDisk,
    /// The clock of an issuer steps.
    ClockStep,
}

/// Who can be killed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Victim {
    /// One of the issuers.
    Issuer,
    /// The store's server.
    Redis,
    /// The edge.
    Edge,
    /// The resource server.
    Api,
}

/// Which network.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Link {
    /// Between an issuer and Redis.
    Store,
    /// Between resource servers and issuers.
    Feed,
}

/// How a network fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Weather {
    /// Everything comes later.
    Delay,
    /// Little comes through.
    Slow,
    /// Nothing comes through.
    Silent,
    /// All connections break.
    Cut,
    /// All connections are dead, and nobody is told.
    HalfOpen,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Kill(Victim::Issuer) => f.write_str("kill -9 of an issuer"),
            Self::Kill(Victim::Redis) => f.write_str("kill -9 of Redis"),
            Self::Kill(Victim::Edge) => f.write_str("kill -9 of the edge"),
            Self::Kill(Victim::Api) => f.write_str("kill -9 of the resource server"),
            Self::Network(link, weather) => {
                let way = match link {
                    Link::Store => "issuer to Redis",
                    Link::Feed => "resource servers to issuers",
                };
                let what = match weather {
                    Weather::Delay => "delayed",
                    Weather::Slow => "slow",
                    Weather::Silent => "silent",
                    Weather::Cut => "cut",
                    Weather::HalfOpen => "half-open",
                };
                write!(f, "network {what}, {way}")
            }
            Self::FullDisk => f.write_str("disk full under the embedded store"),
            Self::ClockStep => f.write_str("clock step of an issuer"),
        }
    }
}

impl Fault {
    /// What can happen to processes and machines of a scene.
    pub fn of_machines(scene: &Scene) -> Vec<Self> {
        let store = match scene.redis {
            Some(_) => Self::Kill(Victim::Redis),
            None => Self::FullDisk,
        };
        vec![
            store,
            Self::Kill(Victim::Issuer),
            Self::Kill(Victim::Edge),
            Self::Kill(Victim::Api),
            Self::ClockStep,
        ]
    }

    /// What can happen to its networks.
    pub fn of_networks(scene: &Scene) -> Vec<Self> {
        let links = match scene.redis {
            Some(_) => &[Link::Store, Link::Feed][..],
            None => &[Link::Feed],
        };
        let weathers = [
            Weather::Delay,
            Weather::Slow,
            Weather::Silent,
            Weather::Cut,
            Weather::HalfOpen,
        ];
        let of = |link: &Link| weathers.map(|weather| Self::Network(*link, weather));
        links.iter().flat_map(of).collect()
    }
}

/// How often what was done.
#[derive(Clone, Debug, Default)]
pub struct Tally(Arc<Mutex<BTreeMap<Fault, usize>>>);

impl Tally {
    /// All of it.
    pub fn read(&self) -> BTreeMap<Fault, usize> {
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    fn count(&self, fault: Fault) {
        let mut tally = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        *tally.entry(fault).or_default() += 1;
    }
}

/// Does one thing after the other to a scene.
#[derive(Debug)]
pub struct Tormentor<'a> {
    /// To what.
    pub scene: &'a Scene,
    /// By chance.
    pub dice: Dice,
    /// Where it is written down when the store may lose something.
    pub book: Book,
    /// How much a killed store may lose.
    pub loses: Option<Duration>,
    /// Where it is counted.
    pub tally: Tally,
}

impl Tormentor<'_> {
    /// All of `faults` in one order after the other, until `end`. What was begun is healed.
    pub async fn torment(mut self, mut faults: Vec<Fault>, end: Moment) {
        loop {
            self.dice.shuffle(&mut faults);
            for fault in &faults {
                sleep(self.dice.millis(QUIET.0, QUIET.1)).await;
                if self.book.now() >= end {
                    return;
                }
                self.tally.count(*fault);
                eprintln!("chaos: {:.3} s: {fault}", self.book.now().as_secs_f64());
                self.happen(*fault).await;
            }
        }
    }

    async fn happen(&mut self, fault: Fault) {
        let (scene, lasts) = (self.scene, self.dice.millis(LASTS.0, LASTS.1));
        match fault {
            Fault::Kill(Victim::Issuer) => {
                let issuer = self.dice.pick(&scene.issuers);
                kill_for(issuer, lasts).await;
            }
            Fault::Kill(Victim::Edge) => kill_for(&scene.edge, lasts).await,
            Fault::Kill(Victim::Api) => kill_for(&scene.api, lasts).await,
            Fault::Kill(Victim::Redis) => self.kill_redis_for(lasts).await,
            Fault::FullDisk => {
                let lasts = self.dice.millis(FULL.0, FULL.1);
                scene.set_full(true).await;
                sleep(lasts).await;
                scene.set_full(false).await;
            }
            Fault::ClockStep => {
                let issuer = self.dice.below(scene.issuers.len());
                let seconds = i64::try_from(1 + self.dice.below(STEP)).expect("a step is short");
                let is_back = self.dice.percent(50);
                scene.set_clock(issuer, if is_back { -seconds } else { seconds });
                sleep(lasts).await;
                scene.set_clock(issuer, 0);
            }
            Fault::Network(link, weather) => {
                let link = match link {
                    Link::Store => self.dice.pick(&scene.store_links),
                    Link::Feed => &scene.feed_link,
                };
                self.storm(link, weather, lasts).await;
            }
        }
    }

    async fn kill_redis_for(&mut self, lasts: Duration) {
        let Some(redis) = &self.scene.redis else {
            return;
        };
        let mut redis = redis.lock().await;
        redis.kill();
        if let Some(window) = self.loses {
            self.book.may_lose(window);
        }
        sleep(lasts).await;
        redis.start_again().await;
    }

    async fn storm(&mut self, link: &FaultProxy, weather: Weather, lasts: Duration) {
        match weather {
            Weather::Delay => link.set(Trouble::Delay(self.dice.millis(20, 300))),
            Weather::Slow => link.set(Trouble::Slow(1_000 + self.dice.below(20_000))),
            Weather::Silent => link.set(Trouble::Silent),
            Weather::Cut => link.cut(),
            Weather::HalfOpen => link.strand(),
        }
        sleep(lasts).await;
        link.set(Trouble::None);
    }
}

async fn kill_for(member: &Member, lasts: Duration) {
    member.kill().await;
    sleep(lasts).await;
    member.start().await;
}
