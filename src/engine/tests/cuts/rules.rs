//! What may remain of an operation that was cut.

use super::super::histories::{Dump, owners};
use crate::{
    engine::memory::Content,
    model::Entry,
    op::{Fault, Op, keys::sibling},
};
use std::collections::BTreeSet;

/// The keys before an operation, after its cut, and at the end of an uncut run.
pub(super) struct Cut<'a> {
    pub(super) op: &'a Op,
    pub(super) before: &'a Dump,
    pub(super) after: &'a Dump,
    pub(super) end: &'a Dump,
}

fn content<'a>(dump: &'a Dump, key: &str) -> Option<&'a Content> {
    dump.get(key).map(|(content, _)| content)
}

/// Whether it has its final content. The model has another clock, so the times of leases are not
/// compared.
fn is_done(found: Option<&Content>, end: Option<&Content>) -> bool {
    let (Some(Content::Hash(found)), Some(Content::Hash(end))) = (found, end) else {
        return found == end;
    };
    found.len() == end.len()
        && std::iter::zip(found, end).all(|((name, text), (other, end))| {
            let same_owner = owners(text).is_some_and(|now| owners(end) == Some(now));
            name == other && (text == end || same_owner)
        })
}

fn ensure(holds: bool, what: impl FnOnce() -> String) -> Result<(), String> {
    if holds { Ok(()) } else { Err(what()) }
}

impl Cut<'_> {
    /// Checks that it ran to its end.
    pub(super) fn is_whole(&self) -> Result<(), String> {
        self.keys().into_iter().try_for_each(|key| {
            ensure(
                is_done(content(self.after, key), content(self.end, key)),
                || format!("`{key}` is not as it should be at the end"),
            )
        })
    }

    pub(super) fn is_safe(&self, fault: &Fault) -> Result<(), String> {
        self.keys()
            .into_iter()
            .try_for_each(|key| self.key_is_safe(key))?;
        self.order_is_kept()?;
        let changed = self.changed();
        match fault {
            Fault::NotDone(e) => ensure(changed.is_empty(), || {
                format!("`{e}` says that nothing was done, but {changed:?} changed")
            }),
            Fault::Unknown(_) => Ok(()),
        }
    }

    fn keys(&self) -> BTreeSet<&str> {
        let dumps = [self.before, self.after, self.end];
        let keys = dumps.into_iter().flat_map(|dump| dump.keys());
        keys.map(String::as_str).collect()
    }

    /// What the operation has changed, except fences that grew and lives that were renewed, which
    /// harm nobody.
    fn changed(&self) -> Vec<&str> {
        let keys = self.keys().into_iter();
        keys.filter(|key| {
            !key.ends_with(":fence") && content(self.before, key) != content(self.after, key)
        })
        .collect()
    }

    /// The key is as it was, absent, or in its final state. Only what the operation deletes may be
    /// absent; a lock is never in an intermediate state.
    fn key_is_safe(&self, key: &str) -> Result<(), String> {
        // A fence may be skipped.
        if key.ends_with(":fence") {
            return Ok(());
        }
        let [before, after, end] = [self.before, self.after, self.end].map(|d| content(d, key));
        if let Some(Content::Hash(fields)) = before {
            return self.flights_are_safe(key, fields.keys());
        }
        let deleted_first = self.entries().contains(&key);
        ensure(
            after == before || is_done(after, end) || (deleted_first && after.is_none()),
            || format!("`{key}` is {after:?}, was {before:?} and should become {end:?}"),
        )?;
        // The next lease gives such a hash its expiry.
        let mortal = after.is_none_or(|content| matches!(content, Content::Hash(_)));
        ensure(mortal || self.after[key].1.is_some(), || {
            format!("`{key}` lives for ever")
        })
    }

    fn flights_are_safe<'a>(
        &self,
        key: &str,
        fields: impl Iterator<Item = &'a String>,
    ) -> Result<(), String> {
        let field = |dump: &Dump, name: &str| match content(dump, key) {
            Some(Content::Hash(fields)) => fields.get(name).cloned(),
            _ => None,
        };
        for name in fields {
            let now = field(self.after, name);
            let end = field(self.end, name);
            ensure(
                now == field(self.before, name)
                    || now == end
                    || now
                        .as_ref()
                        .and_then(owners)
                        .is_some_and(|now| end.as_ref().and_then(owners) == Some(now)),
                || format!("the flight of `{name}` is {now:?}"),
            )?;
        }
        Ok(())
    }

    /// The order is: leases, deletes, sets, releases.
    fn order_is_kept(&self) -> Result<(), String> {
        let done = |key: &str| is_done(content(self.after, key), content(self.end, key));
        let changed = |key: &&str| content(self.before, key) != content(self.after, key);
        let (entries, locks) = (self.entries(), self.locks());

        let flights: Vec<_> = self
            .keys()
            .into_iter()
            .filter(|k| k.contains(":leases"))
            .collect();
        // An own value that is missing and was not set only says that the script failed.
        let owns = self.own_values();
        let is_commit = !owns.is_empty();
        // A stamp without its value vouches for nothing; only a fill must delete it first.
        let is_fill = matches!(self.op, Op::Fill(_));
        let touched =
            |key: &&str| changed(key) && (!owns.contains(key) || self.after.contains_key(*key));
        if let Some(key) = entries.iter().find(|key| touched(key)) {
            ensure(flights.iter().all(|key| done(key)), || {
                format!(
                    "`{key}` was touched before all leases were dropped or marked: a late loader fills it"
                )
            })?;
        }
        let new = |key: &&str| changed(key) && self.after.contains_key(*key);
        if let Some(key) = entries.iter().find(|key| new(key)) {
            let old = entries
                .iter()
                .filter(|key| is_fill || !key.ends_with(":stamp"))
                .find(|key| self.after.contains_key(**key) && !changed(key));
            ensure(old.is_none(), || {
                format!(
                    "`{key}` is new while `{}` is still the old one",
                    old.unwrap_or(&"")
                )
            })?;
        }
        for value in &entries {
            let stamp = sibling(value, "stamp");
            if entries.contains(&stamp.as_str()) && new(&stamp.as_str()) {
                ensure(
                    done(value) || is_commit && !self.after.contains_key(*value),
                    || format!("`{stamp}` vouches for what is not there yet"),
                )?;
            }
        }
        if let Some(lock) = locks.iter().find(|lock| changed(lock)) {
            let rest = self.keys().into_iter();
            let rest = rest.filter(|key| !locks.contains(key) && !key.ends_with(":fence"));
            let late: Vec<_> = rest.filter(|key| !done(key)).collect();
            ensure(late.is_empty(), || {
                format!("`{lock}` changed before {late:?} did")
            })?;
        }
        Ok(())
    }

    /// Values and stamps that the operation sets or deletes, if its end shows that.
    fn entries(&self) -> Vec<&str> {
        let value = |entry: &Entry| entry.value.to_string();
        let named: Vec<String> = match self.op {
            Op::Commit(op) => {
                let owns = op.own.iter().map(|own| value(&own.entry));
                let stamps = op.own.iter().map(|own| sibling(&own.entry.value, "stamp"));
                owns.chain(stamps)
                    .chain(op.dependents.iter().map(value))
                    .collect()
            }
            Op::Prepare(op) => op.entries.iter().map(value).collect(),
            Op::Invalidate(op) => {
                let stamps = op.raises.iter().map(|raise| sibling(&raise.value, "stamp"));
                op.entries.iter().map(value).chain(stamps).collect()
            }
            Op::Fill(op) => vec![value(&op.entry), sibling(&op.entry.value, "stamp")],
            _ => Vec::new(),
        };
        let touched = |key: &&str| content(self.before, key) != content(self.end, key);
        let keys = self.keys().into_iter();
        keys.filter(|key| named.iter().any(|name| name == key))
            .filter(touched)
            .collect()
    }

    fn own_values(&self) -> Vec<&str> {
        match self.op {
            Op::Commit(op) => op.own.iter().map(|own| own.entry.value.as_str()).collect(),
            _ => Vec::new(),
        }
    }

    fn locks(&self) -> Vec<&str> {
        match self.op {
            Op::Commit(op) => op.locks.iter().map(|lock| lock.key.as_str()).collect(),
            Op::Prepare(op) => op.locks.iter().map(|lock| lock.key.as_str()).collect(),
            Op::Invalidate(op) => op.release.iter().map(|lock| lock.key.as_str()).collect(),
            Op::Acquire(op) => vec![&op.lock.key],
            Op::Renew(op) => vec![&op.lock.key],
            Op::Release(op) => vec![&op.lock.key],
            Op::Lease(_) | Op::Extend(_) | Op::GiveBack(_) | Op::Fill(_) => Vec::new(),
            Op::Read(_) | Op::ClearLocks(_) | Op::Holders(_) => Vec::new(),
        }
    }
}
