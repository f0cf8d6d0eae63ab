//! Recognising a key by its text.

use machineauth_core::base64url;
use machineauth_core::clock::Timestamp;
use machineauth_core::crypto::sha256;

use super::record::{Found, TextDigest};
use super::{
    API_KEYS, ApiKey, ApiKeyError, ApiKeys, BY_DIGEST, BY_TEXT, last_used_key, record_key,
};
use crate::domain::last_use;
use crate::domain::organizations;
use crate::domain::secret::SecretText;
use crate::store::{Batch, Outcome, StoreError, Versioned};

impl ApiKeys {
    /// The key whose text this is, if it works and its organization is there. Says nothing about why not.
    ///
    /// # Errors
    /// The store's failure.
    pub async fn authenticate(&self, text: &SecretText) -> Result<Option<ApiKey>, StoreError> {
        let digest = self.digest(text);
        let found = match BY_TEXT.get(&*self.store, &digest.key()).await? {
            None => {
                let plain = TextDigest::plain(&sha256(text.reveal().as_bytes()));
                BY_DIGEST.get(&*self.store, &plain.key()).await?
            }
            found => found,
        };
        let Some(found) = found else {
            return Ok(None);
        };
        let Found {
            organization_id,
            id,
        } = found.value;
        let record = record_key(organization_id, id);
        let (key, organization) = futures_util::try_join!(
            API_KEYS.get(&*self.store, &record),
            organizations::read(&*self.store, organization_id),
        )?;
        let now = self.clock.now();
        let Some(key) = key.filter(|key| key.value.is_active(now)) else {
            return Ok(None);
        };
        if organization.is_none() {
            return Ok(None);
        }
        if key.value.text_digest != digest {
            self.renew(&key, digest).await?;
        }
        self.remember_use(&key.value, now).await?;
        Ok(Some(key.value))
    }

    /// Lets a key be found by a keyed hash from now on. The steps are in an order in which a crash between them costs
    /// nothing but doing them again.
    async fn renew(&self, key: &Versioned<ApiKey>, digest: TextDigest) -> Result<(), StoreError> {
        match self.lead_to(&key.value, &digest).await {
            Err(ApiKeyError::Store(error)) => return Err(error),
            // Others do the same at this moment.
            Err(_) => return Ok(()),
            Ok(()) => {}
        }
        let before = key.value.text_digest.key();
        let record = record_key(key.value.organization_id, key.value.id);
        let renewed = ApiKey {
            text_digest: digest,
            ..key.value.clone()
        };
        for batch in [
            Batch::new(before.partition()).delete(&before),
            Batch::new(record.partition())
                .at_version(&record, key.version)
                .put(&record, API_KEYS.encode(&renewed)),
        ] {
            match self.store.commit(&batch).await? {
                Outcome::Committed | Outcome::Conflict => {}
            }
        }
        Ok(())
    }

    /// Writes the row that finds `key` by `digest`.
    pub(super) async fn lead_to(
        &self,
        key: &ApiKey,
        digest: &TextDigest,
    ) -> Result<(), ApiKeyError> {
        let row = digest.key();
        let found = BY_TEXT.get(&*self.store, &row).await?;
        if let Some(found) = found {
            return match found.value.id == key.id {
                true => Ok(()),
                false => Err(ApiKeyError::Contended),
            };
        }
        let found = BY_TEXT.encode(&Found {
            organization_id: key.organization_id,
            id: key.id,
        });
        let batch = Batch::new(row.partition()).absent(&row).put(&row, found);
        match self.store.commit(&batch).await? {
            Outcome::Committed => Ok(()),
            Outcome::Conflict => Err(ApiKeyError::Contended),
        }
    }

    pub(super) fn digest(&self, text: &SecretText) -> TextDigest {
        TextDigest {
            hash: base64url::encode(self.vault.api_key_mac(text)),
            is_plain: false,
            ..TextDigest::plain(&sha256(text.reveal().as_bytes()))
        }
    }

    async fn remember_use(&self, key: &ApiKey, now: Timestamp) -> Result<(), StoreError> {
        if !self.uses.is_news(key.id, now) {
            return Ok(());
        }
        let counter = last_used_key(key.organization_id, key.id);
        let batch = last_use::record(Batch::new(counter.partition()), &counter, now);
        match self.store.commit(&batch).await? {
            Outcome::Committed | Outcome::Conflict => Ok(()),
        }
    }
}
