//! What a save will do, from its document's names.

use super::{Save, Store, names::Names};
use crate::{
    model::{Bytes, Entry, Result, token},
    protocol::save::{Plan, Writer},
    rules::Params,
};
use std::time::Duration;

impl Store {
    /// A save of these bytes by this writer, which keeps its lock.
    pub(super) fn plan(
        &self,
        names: &Names,
        save: &Save,
        bytes: Bytes,
        writer: Writer,
    ) -> Result<Plan> {
        let cache = self.cache();
        let (dependents, params) = self.expand(names, save)?;
        Ok(Plan {
            document: names.document.clone(),
            place: names.place.clone(),
            id: token::hex_128()?,
            bytes,
            own: names.entry.clone(),
            ttl_ms: self.ttl_ms(names)?,
            dependents: cache.split(&names.entry, dependents)?,
            params,
            writer,
            release: false,
            wait: save.wait_or(self.0.wait),
            guarantee: save.guarantee.unwrap_or(self.0.guarantee),
            mark_ttl: cache.mark_ttl(),
            patience: cache.response_timeout(),
        })
    }

    /// The entries that a save makes out of date, and the params that determine them.
    pub(super) fn expand(&self, names: &Names, save: &Save) -> Result<(Vec<Entry>, Params)> {
        let mut params = save.params.clone();
        for (name, value) in names.params.iter() {
            if params.get(name).is_none() {
                params = params.with(name, value.clone());
            }
        }
        let cache = self.cache();
        let keys = cache
            .rules()
            .expand_for(&names.listed.controller, &save.tasks, &params)?;
        Ok((cache.entries(&keys), params))
    }

    /// The entry's life, in ms.
    pub(super) fn ttl_ms(&self, names: &Names) -> Result<u64> {
        let life = self.cache().entry_life(self.ttl(names)?);
        Ok(u64::try_from(life.as_millis()).unwrap_or(u64::MAX))
    }

    /// The TTL in the rules.
    pub(super) fn ttl(&self, names: &Names) -> Result<Duration> {
        self.cache().rules().ttl(&names.listed.controller)
    }
}
