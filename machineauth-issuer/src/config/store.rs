//! Where state is kept, and with what it is sealed.

use super::reader::Reader;
use super::{ServerKeySource, StoreUrl};
use crate::domain::vault::ServerKey;
use crate::store::RedisOptions;

const DEFAULT_STORE: &str = "machineauth.redb";

impl Reader {
    pub(super) fn store(&mut self) -> StoreUrl {
        let Some(text) = self.take("DATABASE_URL") else {
            return StoreUrl::Embedded(DEFAULT_STORE.into());
        };
        text.parse().unwrap_or_else(|allowed| {
            self.problem("DATABASE_URL", allowed);
            StoreUrl::Embedded(DEFAULT_STORE.into())
        })
    }

    pub(super) fn redis(&mut self) -> RedisOptions {
        let options =
            RedisOptions::default().with_replicas(self.within("REDIS_REPLICAS", 0..=16, 0));
        match self.take("REDIS_CA_FILE") {
            Some(path) => options.with_ca_file(path),
            None => options,
        }
    }

    pub(super) fn server_key(
        &mut self,
        production: bool,
        store: &StoreUrl,
    ) -> Option<ServerKeySource> {
        if let Some(text) = self.secret("SERVER_KEY") {
            return match ServerKey::parse(&text) {
                Ok(key) => Some(ServerKeySource::Given(key)),
                Err(allowed) => {
                    self.problem("SERVER_KEY", &allowed.to_string());
                    None
                }
            };
        }
        match store {
            _ if production => self.problem(
                "SERVER_KEY",
                "required in production, here or in SERVER_KEY_FILE: 32 random bytes, as `openssl rand -hex 32` prints",
            ),
            StoreUrl::Redis(_) => self.problem(
                "SERVER_KEY",
                "required with Redis, here or in SERVER_KEY_FILE, the same for every issuer: 32 random bytes, as \
                 `openssl rand -hex 32` prints",
            ),
            StoreUrl::Embedded(path) => {
                let mut beside = path.clone().into_os_string();
                beside.push(".key");
                return Some(ServerKeySource::Generated(beside.into()));
            }
        }
        None
    }

    pub(super) fn previous_server_key(&mut self) -> Option<ServerKey> {
        let text = self.secret("SERVER_KEY_PREVIOUS")?;
        let key = ServerKey::parse(&text);
        if let Err(allowed) = &key {
            self.problem("SERVER_KEY_PREVIOUS", &allowed.to_string());
        }
        key.ok()
    }
}
