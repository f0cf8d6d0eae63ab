//! Everything that can break breaks, at random, under load; and then it is looked whether the promises were kept.
//!
//! Owners create agents, get tokens, refresh, rotate, revoke and deactivate at two issuers, or one; watchers try what was
//! ended at an edge and at a resource server; a receiver listens to a webhook. Meanwhile processes are killed, networks fail,
//! disks fill up and clocks step. Every request and its answer stand in a [`history`], and only that decides
//! afterwards: the [`invariants`].

pub mod aftermath;
pub mod book;
mod canary;
pub mod client;
pub mod faults;
pub mod history;
pub mod invariants;
mod life;
pub mod load;
pub mod report;
pub mod scene;

use std::time::Duration;

use futures_util::future::join;
use reqwest::Method;
use serde_json::json;

use self::book::Book;
use self::client::Client;
use self::faults::{Fault, Tally, Tormentor};
use self::history::Server;
use self::invariants::Bounds;
use self::load::{Owner, Retired, watch};
pub use self::report::Report;
use self::scene::{API_STALE_AFTER, EDGE_STALE_AFTER, Scene};
pub use self::scene::{Ground, Programs};
use crate::dice::Dice;
use crate::http::Answer;
use crate::receiver::Receiver;
use crate::redis_server::Persistence;

/// How many owners there are.
const OWNERS: usize = 6;
/// What a Redis that syncs every second loses at most.
const A_SECOND: Duration = Duration::from_secs(1);
/// How long a heartbeat is on its way at most: as long as a network fails.
const ON_ITS_WAY: Duration = Duration::from_secs(3);
/// How long everything may need to be well again, and to do what waits.
const HEALS_WITHIN: Duration = Duration::from_secs(90);

/// What is to happen.
#[derive(Clone, Debug)]
pub struct Run {
    /// To what.
    pub programs: Programs,
    /// On which store.
    pub ground: Ground,
    /// What follows from it: which faults happen, and when. What clients do in between does not.
    pub seed: u64,
    /// How long.
    pub lasts: Duration,
}

impl Run {
    /// Lets it happen, and looks what is left.
    ///
    /// # Panics
    /// When something does not start, or does not heal.
    pub async fn happen(&self) -> Report {
        let mut dice = Dice::new(self.seed);
        let scene = Scene::set(&self.programs, self.ground).await;
        let client = Client::new(scene.addresses(), Book::open());
        let receiver = Receiver::start().await;
        listen(&client, &receiver).await;

        let (end, retired, tally) = (
            client.book.now() + self.lasts,
            Retired::default(),
            Tally::default(),
        );
        let load = self.load(&client, &retired, &mut dice, end);
        let mut tormentor = || Tormentor {
            scene: &scene,
            dice: dice.fork(),
            book: client.book.clone(),
            loses: (self.ground == Ground::Redis(Persistence::EverySecond)).then_some(A_SECOND),
            tally: tally.clone(),
        };
        join(
            tormentor().torment(Fault::of_machines(&scene), end),
            tormentor().torment(Fault::of_networks(&scene), end),
        )
        .await;
        for part in load {
            part.await.expect("no client panics");
        }

        let canaries = aftermath::heal(&scene, &client).await;
        let mut agents = std::mem::take(&mut *retired.lock().expect("no client panics"));
        agents.extend(canaries);
        let aftermath = aftermath::look(&client, agents, &receiver).await;
        scene.end().await;
        let bounds = Bounds {
            edge: EDGE_STALE_AFTER + ON_ITS_WAY,
            api: API_STALE_AFTER + ON_ITS_WAY,
        };
        let history = client.book.history();
        let invariants = invariants::check(&history, &aftermath, &bounds);
        Report::new(self, tally.read(), &history, invariants)
    }

    fn load(
        &self,
        client: &Client,
        retired: &Retired,
        dice: &mut Dice,
        end: history::Moment,
    ) -> Vec<tokio::task::JoinHandle<()>> {
        let owners = (0..OWNERS).map(|_| Owner {
            client: client.clone(),
            dice: dice.fork(),
            retired: retired.clone(),
        });
        let mut load: Vec<_> = owners.map(|owner| tokio::spawn(owner.work(end))).collect();
        for server in Server::ALL {
            load.push(tokio::spawn(watch(
                client.clone(),
                server,
                dice.fork(),
                end,
            )));
        }
        load
    }
}

/// Lets the receiver be told of everything that is counted afterwards.
async fn listen(client: &Client, receiver: &Receiver) {
    let body = json!({
        "name": "chaos",
        "url": receiver.url,
        "events": invariants::EVENTS,
        "retry_backoff_base": 1,
    });
    let request = client.admin(0, Method::POST, "/api/webhooks").json(&body);
    let created = Answer::to(request).await;
    assert_eq!(created.status, 201, "{}", created.text);
}
