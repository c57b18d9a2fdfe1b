//! The participants: scripts that drive the protocols as `Document` and the replayer do.
//!
//! A document is a list of its saves, `[1,4,7]`: each save appends its number to what it read. So a
//! list shows what its writer had seen, and a value derived from a document shows of which version
//! it is.

use super::actor::Hand;
use crate::{
    model::{Bytes, Entry, Error, Place, Result, error::Kind, limits},
    op::{Invalidate, Op, Space, keys::sibling},
    protocol::{
        Action, Claim, Expires, Found, Guarantee, Held, Outcome, Replayed, Spread,
        delete::{self, delete},
        lock::{self, Expect, WhileAway},
        read::{Reader, read, to_change},
        recover,
        replay::{How, replay},
        save::{Plan, Right, Saved, Writer, save},
    },
    rules::Params,
};
use std::{sync::Arc, time::Duration};

pub(crate) const RUN: &str = "run";
/// The hash tag of keys in another slot of a Cluster.
pub(crate) const APART: &str = "elsewhere";
pub(crate) const LOCK_TTL: Duration = Duration::from_secs(60);
pub(crate) const LEASE_TTL: Duration = Duration::from_secs(10);
pub(crate) const ENTRY_TTL: Duration = Duration::from_secs(72 * 3_600);
const PADDED: usize = 64;
pub(crate) const MARK_TTL: Duration = Duration::from_secs(30);
pub(super) const PATIENCE: Duration = Duration::from_secs(1);

/// The saves in a document.
pub(crate) type Saves = Vec<u64>;

/// A document and its dependents.
#[derive(Clone, Debug)]
pub(crate) struct Paper {
    pub(super) name: &'static str,
    pub(crate) place: Place,
    pub(crate) own: Entry,
    dependents: Vec<Entry>,
    /// Dependents in another slot of a Cluster.
    apart: Vec<Entry>,
    pub(crate) guarantee: Guarantee,
}

pub(crate) fn entry(name: &str) -> Entry {
    entry_of(RUN, name)
}

fn entry_of(tag: &str, name: &str) -> Entry {
    Entry {
        value: format!("{{{tag}}}:{name}").into(),
        leases: format!("{{{tag}}}:cachetx:leases").into(),
    }
}

/// The hash of leases: one for the whole run.
pub(crate) fn leases() -> String {
    entry("").leases.to_string()
}

impl Paper {
    pub(crate) fn new(name: &'static str, dependents: &[&str], guarantee: Guarantee) -> Self {
        Self {
            name,
            place: Place {
                folder: RUN.into(),
                file: format!("{name}.nodb").into(),
            },
            own: entry(name),
            dependents: dependents.iter().map(|name| entry(name)).collect(),
            apart: Vec::new(),
            guarantee,
        }
    }

    pub(crate) fn with_dependents_apart(mut self, names: &[&str]) -> Self {
        self.apart = names.iter().map(|name| entry_of(APART, name)).collect();
        self
    }

    pub(crate) fn dependents(&self) -> impl DoubleEndedIterator<Item = &Entry> {
        self.dependents.iter().chain(&self.apart)
    }

    pub(crate) fn lock_key(&self) -> String {
        sibling(&self.own.value, "lock")
    }

    pub(super) fn spread(&self) -> Spread {
        Spread {
            here: self.dependents.clone(),
            elsewhere: self.apart.iter().map(|entry| vec![entry.clone()]).collect(),
        }
    }

    /// Takes the lock; waits for another holder for at most `wait`.
    pub(crate) async fn lock(&self, hand: &Hand, expect: Expect, wait: Duration) -> Result<Held> {
        self.lock_for(hand, expect, LOCK_TTL, wait).await
    }

    /// The same with another TTL of the lock.
    pub(crate) async fn lock_for(
        &self,
        hand: &Hand,
        expect: Expect,
        ttl: Duration,
        wait: Duration,
    ) -> Result<Held> {
        let lock_key = self.lock_key();
        let claim = Claim {
            document: self.name.to_owned(),
            place: self.place.clone(),
            fence_key: sibling(&lock_key, "fence"),
            lock_key,
            ttl,
            token: hand.token(),
            owner: "host:1".to_owned(),
            seed: 1,
            behind: false,
            wait,
            expect,
            while_away: WhileAway::Fail,
            patience: PATIENCE,
        };
        hand.run(lock::take(claim)).await
    }

    pub(crate) async fn let_go(&self, hand: &Hand, held: Held) -> Result<()> {
        let released = lock::release(self.name.to_owned(), held.lock);
        hand.run(released).await
    }

    fn plan(&self, hand: &Hand, bytes: Bytes, writer: Writer) -> Plan {
        Plan {
            document: self.name.to_owned(),
            place: self.place.clone(),
            id: hand.token(),
            bytes,
            own: self.own.clone(),
            ttl_ms: ENTRY_TTL.as_millis() as u64,
            dependents: self.spread(),
            params: Params::new(),
            release: matches!(writer.right, Right::Lock { .. }),
            writer,
            wait: None,
            guarantee: self.guarantee,
            mark_ttl: MARK_TTL,
            patience: PATIENCE,
        }
    }

    /// Appends a number to what was read under the lock, and saves. If the save fails, it releases
    /// the lock.
    pub(crate) async fn save(&self, hand: &Hand, held: Held, number: u64) -> Result<Saved> {
        let plan = self.plan(hand, with(held.read.as_ref(), number)?, writer(&held));
        let saved = hand.run(save(plan)).await;
        if saved.is_err() {
            self.let_go(hand, held).await?;
        }
        saved
    }

    /// Appends a number to what was read under the lock, and saves, but keeps the lock. Returns the
    /// guard's new state.
    pub(crate) async fn dump(&self, hand: &Hand, held: Held, number: u64) -> Result<Held> {
        let mut plan = self.plan(hand, with(held.read.as_ref(), number)?, writer(&held));
        plan.release = false;
        let saved = match hand.run(save(plan)).await {
            Ok(saved) => saved,
            Err(e) => {
                self.let_go(hand, held).await?;
                return Err(e);
            }
        };
        let read = to_change(self.name.to_owned(), self.place.clone());
        Ok(Held {
            read: Some(hand.run(read).await?),
            last_mtime_ns: saved.stamp.mtime_ns,
            ..held
        })
    }

    /// Saves as a program that has the lock but does not know stamps: it writes the file, then
    /// deletes the entries and the lock.
    pub(crate) async fn save_by_hand(&self, hand: &Hand, held: Held, number: u64) -> Result<()> {
        let plan = self.plan(hand, with(held.read.as_ref(), number)?, writer(&held));
        let is_end = |action: &Action| matches!(action, Action::Server(Op::Commit(_)));
        let refused = hand.run_until(save(plan), is_end).await;
        let deleted = Invalidate {
            entries: [&self.own]
                .into_iter()
                .chain(self.dependents())
                .cloned()
                .collect(),
            raises: Vec::new(),
            token: String::new(),
            release: Some(held.lock),
        };
        hand.ask(deleted).await?;
        match refused {
            Some(Err(e)) => Err(e),
            _ => Ok(()),
        }
    }

    /// Appends a number by one try of an update. `looks` tells whether it checks that nobody holds
    /// the lock.
    pub(crate) async fn update(&self, hand: &Hand, looks: bool, number: u64) -> Result<Saved> {
        let read = to_change(self.name.to_owned(), self.place.clone());
        let found = hand.run(read).await?;
        let writer = Writer {
            right: Right::Update {
                lock_key: looks.then(|| self.lock_key()),
            },
            last_mtime_ns: found.stamp().mtime_ns,
            read: Some(found.known()),
        };
        let plan = self.plan(hand, with(Some(&found), number)?, writer);
        hand.run(save(plan)).await
    }

    /// Locks and saves.
    pub(crate) async fn change(&self, hand: &Hand, number: u64) -> Result<Saved> {
        let held = self.lock(hand, Expect::Document, PATIENCE).await?;
        self.save(hand, held, number).await
    }

    pub(crate) async fn create(&self, hand: &Hand, number: u64) -> Result<Saved> {
        let held = self.lock(hand, Expect::Nothing, PATIENCE).await?;
        self.save(hand, held, number).await
    }

    pub(crate) async fn delete(&self, hand: &Hand) -> Result<Outcome> {
        let held = self.lock(hand, Expect::Document, PATIENCE).await?;
        let plan = delete::Plan {
            document: self.name.to_owned(),
            place: self.place.clone(),
            own: self.own.clone(),
            ttl_ms: ENTRY_TTL.as_millis() as u64,
            dependents: self.spread(),
            params: Params::new(),
            writer: writer(&held),
            guarantee: self.guarantee,
            mark_ttl: MARK_TTL,
            token: hand.token(),
        };
        let deleted = hand.run(delete(plan)).await;
        if deleted.is_err() {
            self.let_go(hand, held).await?;
        }
        deleted
    }

    pub(crate) async fn read(&self, hand: &Hand) -> Result<Saves> {
        parse(&self.find(hand).await?.bytes)
    }

    async fn find(&self, hand: &Hand) -> Result<Found> {
        let reader = Reader {
            document: self.name.to_owned(),
            place: self.place.clone(),
            entry: self.own.clone(),
            ttl: ENTRY_TTL,
            token: hand.token(),
            lease_ttl: LEASE_TTL,
            patience: PATIENCE,
        };
        hand.run(read(reader)).await
    }

    /// Also returns what a snapshot keeps.
    pub(crate) async fn read_whole(&self, hand: &Hand) -> Result<(Found, Saves)> {
        let found = self.find(hand).await?;
        let saves = parse(&found.bytes)?;
        Ok((found, saves))
    }
}

/// Finishes the transactions of dead owners.
pub(crate) async fn mend(hand: &Hand) -> Result<()> {
    for id in hand.run(recover::list()).await? {
        let finished = recover::finish_if_dead(id, limits::SIDECAR_WAIT);
        hand.run(finished).await?;
    }
    Ok(())
}

/// What was read, with `number` appended.
pub(super) fn with(read: Option<&Found>, number: u64) -> Result<Bytes> {
    let mut saves = read.map_or(Ok(Vec::new()), |found| parse(&found.bytes))?;
    saves.push(number);
    Ok(text(&saves))
}

pub(super) fn writer(held: &Held) -> Writer {
    let read = held.read.as_ref().map(Found::known);
    Writer {
        right: Right::Lock {
            lock: held.lock.clone(),
            fence: held.fence,
            expires: Expires::at(held.expires),
        },
        last_mtime_ns: held
            .last_mtime_ns
            .max(read.as_ref().map_or(0, |read| read.version.stamp.mtime_ns)),
        read,
    }
}

/// Padded to one size, as far as possible, since a stamp must tell versions apart without the size.
/// The padding comes first, so that no part of the text is a whole document.
pub(super) fn text(saves: &Saves) -> Bytes {
    let list = serde_json::to_string(saves).expect("numbers");
    format!("{list:>PADDED$}").into_bytes().into()
}

/// A document, or part of one, that is not a list was never saved by anybody.
pub(crate) fn parse(bytes: &[u8]) -> Result<Saves> {
    serde_json::from_slice(bytes).map_err(|e| {
        Error::new(Kind::Document {
            document: String::from_utf8_lossy(bytes).into_owned(),
            message: e.to_string(),
        })
    })
}

pub(crate) async fn bring(hand: &Hand) -> Result<Replayed> {
    bring_in(hand, Space::Whole).await
}

/// The same on a server with this key space.
pub(crate) async fn bring_in(hand: &Hand, space: Space) -> Result<Replayed> {
    let how = How {
        space,
        expand: Arc::new(|_| Vec::new()),
    };
    hand.run(replay(how)).await
}
