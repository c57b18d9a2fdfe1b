//! The API's calls, made of the cast's protocols: what runs in a task of its own, and what a guard
//! does that is dropped. A call of a thread is the same without tasks.

use super::{
    actor::Hand,
    cast::{ENTRY_TTL, LEASE_TTL, MARK_TTL, PATIENCE, Paper, Saves, parse, text, with, writer},
};
use crate::{
    disk::JournalId,
    model::{Entry, Result},
    op::Invalidate,
    protocol::{
        CacheOutcome, Held, Intent, Outcome, Scope, Spread, around,
        group::{self, Member},
        load::{self, Begun, Filled},
        lock::Expect,
    },
    rules::Params,
};
use std::{future::Future, pin::Pin, time::Duration};

type Later = Pin<Box<dyn Future<Output = ()>>>;

/// Something that its owner has to give back. If it is dropped, the timer of its process does that.
pub(crate) struct Guard<T: 'static> {
    hand: Hand,
    owned: Option<T>,
    give_back: fn(Hand, T) -> Later,
}

impl<T> Guard<T> {
    fn new(hand: Hand, owned: T, give_back: fn(Hand, T) -> Later) -> Self {
        Self {
            hand,
            owned: Some(owned),
            give_back,
        }
    }

    fn owned(&self) -> &T {
        self.owned.as_ref().expect("it was not taken out")
    }

    fn into_owned(mut self) -> T {
        self.owned.take().expect("it was not taken out")
    }

    async fn give_back(self) {
        let (hand, give_back) = (self.hand.clone(), self.give_back);
        give_back(hand, self.into_owned()).await;
    }
}

impl<T> Drop for Guard<T> {
    fn drop(&mut self) {
        if let Some(owned) = self.owned.take() {
            self.hand.later(|hand| (self.give_back)(hand, owned));
        }
    }
}

/// A document, its lock, and what was read under it.
pub(crate) type Locked = Guard<(Paper, Held)>;

/// As `Document::lock_timeout`.
pub(crate) async fn lock(hand: &Hand, paper: &Paper, wait: Duration) -> Result<Locked> {
    let paper = paper.clone();
    let locked = hand.while_wanted(|hand| async move { take(&hand, &paper, wait).await });
    locked.await
}

async fn take(hand: &Hand, paper: &Paper, wait: Duration) -> Result<Locked> {
    let held = paper.lock(hand, Expect::Document, wait).await?;
    Ok(locked(hand.clone(), paper.clone(), held))
}

fn locked(hand: Hand, paper: Paper, held: Held) -> Locked {
    Guard::new(hand, (paper, held), |hand, (paper, held)| {
        Box::pin(async move { drop(paper.let_go(&hand, held).await) })
    })
}

/// As `Locked::dump_and_unlock`.
pub(crate) async fn save(hand: &Hand, locked: Locked, number: u64) -> Result<()> {
    let saved = hand.to_its_end(|hand| async move {
        let (paper, held) = locked.into_owned();
        paper.save(&hand, held, number).await.map(drop)
    });
    saved.await
}

/// As `Locked::dump`.
pub(crate) async fn dump(hand: &Hand, guard: Locked, number: u64) -> Result<Locked> {
    let saved = hand.to_its_end(|hand| async move {
        let (paper, held) = guard.into_owned();
        let held = paper.dump(&hand, held, number).await?;
        Ok(locked(hand, paper, held))
    });
    saved.await
}

/// As `Locked::unlock`.
pub(crate) async fn unlock(hand: &Hand, locked: Locked) -> Result<()> {
    let released = hand.to_its_end(|hand| async move {
        let (paper, held) = locked.into_owned();
        paper.let_go(&hand, held).await
    });
    released.await
}

/// As `Document::update`, but does not wait between tries.
pub(crate) async fn update(hand: &Hand, paper: &Paper, number: u64) -> Result<()> {
    let paper = paper.clone();
    let updated = hand.to_its_end(|hand| async move {
        match paper.update(&hand, true, number).await {
            Err(e) if e.is_conflict() || e.is_lock_held() => {
                paper.change(&hand, number).await.map(drop)
            }
            done => done.map(drop),
        }
    });
    updated.await
}

/// As `Document::create`.
pub(crate) async fn create(hand: &Hand, paper: &Paper, number: u64) -> Result<()> {
    let paper = paper.clone();
    let created =
        hand.to_its_end(|hand| async move { paper.create(&hand, number).await.map(drop) });
    created.await
}

/// As `Document::delete`.
pub(crate) async fn delete(hand: &Hand, paper: &Paper) -> Result<()> {
    let paper = paper.clone();
    let deleted = hand.to_its_end(|hand| async move { paper.delete(&hand).await.map(drop) });
    deleted.await
}

/// Locks several documents, and saves them as one, each with `number` appended.
pub(crate) async fn transact(hand: &Hand, papers: &[Paper], number: u64) -> Result<Outcome> {
    let locked = lock_all(hand, papers).await?;
    commit(hand, locked, number).await
}

/// As `Store::transaction`.
pub(crate) async fn lock_all(hand: &Hand, papers: &[Paper]) -> Result<Vec<Locked>> {
    let papers = papers.to_vec();
    let locked = hand.while_wanted(|hand| async move {
        let mut locked = Vec::with_capacity(papers.len());
        for paper in papers {
            match take(&hand, &paper, PATIENCE).await {
                Ok(one) => locked.push(one),
                Err(e) => {
                    release_all(locked).await;
                    return Err(e);
                }
            }
        }
        Ok(locked)
    });
    locked.await
}

/// As `Transaction::commit`.
pub(crate) async fn commit(hand: &Hand, locked: Vec<Locked>, number: u64) -> Result<Outcome> {
    let committed = hand.to_its_end(|hand| async move {
        let done = match plan(&hand, &locked, number) {
            Ok(plan) => hand.run(group::group(plan)).await,
            Err(e) => Err(e),
        };
        match done {
            Ok(done) => {
                locked.into_iter().for_each(|one| drop(one.into_owned()));
                Ok(done.outcome)
            }
            Err(e) => {
                release_all(locked).await;
                Err(e)
            }
        }
    });
    committed.await
}

async fn release_all(locked: Vec<Locked>) {
    for one in locked {
        one.give_back().await;
    }
}

fn plan(hand: &Hand, locked: &[Locked], number: u64) -> Result<group::Plan> {
    let owned = locked.iter().map(Guard::owned);
    let member = |(n, (paper, held)): (usize, &(Paper, Held))| {
        Ok(Member {
            document: paper.name.to_owned(),
            place: paper.place.clone(),
            bytes: with(held.read.as_ref(), number)?,
            own: paper.own.clone(),
            ttl_ms: ENTRY_TTL.as_millis() as u64,
            // No dependent is deleted twice.
            dependents: if n == 0 {
                paper.spread()
            } else {
                Spread::default()
            },
            params: Params::new(),
            writer: writer(held),
        })
    };
    let members: Vec<_> = owned
        .clone()
        .enumerate()
        .map(member)
        .collect::<Result<_>>()?;
    let id = hand.token();
    Ok(group::Plan {
        steps: vec![(0..members.len()).collect()],
        members,
        journal: JournalId::parse(&id[16..]).expect("hex digits"),
        id,
        wait: None,
        guarantee: locked[0].owned().0.guarantee,
        mark_ttl: MARK_TTL,
        patience: PATIENCE,
    })
}

/// As `Document::read`.
pub(crate) async fn read(hand: &Hand, paper: &Paper) -> Result<Saves> {
    let paper = paper.clone();
    let read = hand.to_its_end(|hand| async move { paper.read(&hand).await });
    read.await
}

/// The origin of a derived value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Way {
    /// It was cached.
    Found,
    /// It was loaded, and cached for the next reader.
    Filled,
    /// It was loaded, and not cached.
    Loaded,
}

/// The value derived from these documents: all their saves. Does not wait for other readers.
pub(crate) async fn derive(hand: &Hand, entry: &Entry, from: &[Paper]) -> Result<(Saves, Way)> {
    let load = async || {
        let mut saves = Vec::new();
        for paper in from {
            saves.extend(read(hand, paper).await?);
        }
        Ok(saves)
    };
    get_or_load(hand, entry, load).await
}

/// A value and its loader, as `Cache::get_or_load`. Does not wait for other readers.
pub(crate) async fn get_or_load(
    hand: &Hand,
    entry: &Entry,
    load: impl AsyncFnOnce() -> Result<Saves>,
) -> Result<(Saves, Way)> {
    let claim = claim(hand, entry);
    let begun = hand.to_its_end(|hand| async move {
        let entry = claim.entry.clone();
        let begun = hand.run(load::begin(claim)).await?;
        let lease = match &begun {
            Begun::Leased(token) | Begun::Early(token) => Some(leased(hand, entry, token.clone())),
            Begun::Found(_) | Begun::Unleased => None,
        };
        Ok((begun, lease))
    });
    let (begun, lease) = begun.await?;
    if let Begun::Found(bytes) = begun {
        return Ok((parse(&bytes)?, Way::Found));
    }
    let loaded = load().await;
    let Some(lease) = lease else {
        return Ok((loaded?, Way::Loaded));
    };
    let saves = match loaded {
        Ok(saves) => saves,
        Err(e) => {
            lease.give_back().await;
            return Err(e);
        }
    };
    let bytes = text(&saves);
    let filled = hand.to_its_end(|hand| async move {
        let (entry, token) = lease.into_owned();
        let finish = load::finish(entry, token, bytes, ENTRY_TTL);
        hand.run(finish).await
    });
    match filled.await? {
        Filled::Set => Ok((saves, Way::Filled)),
        Filled::Refused | Filled::Unknown => Ok((saves, Way::Loaded)),
    }
}

/// As `Cache::put`.
pub(crate) async fn put(hand: &Hand, entry: &Entry, saves: &Saves) -> Result<()> {
    let (claim, bytes) = (claim(hand, entry), text(saves));
    let gone = invalidation(vec![entry.clone()]);
    let put = hand.to_its_end(|hand| async move {
        hand.ask(gone).await?;
        let entry = claim.entry.clone();
        let Begun::Leased(token) = hand.run(load::take(claim)).await? else {
            return Ok(());
        };
        let finish = load::finish(entry, token, bytes, ENTRY_TTL);
        hand.run(finish).await.map(drop)
    });
    put.await
}

fn claim(hand: &Hand, entry: &Entry) -> load::Claim {
    load::Claim {
        entry: entry.clone(),
        token: hand.token(),
        seed: 1,
        ttl: LEASE_TTL,
        wait: Duration::ZERO,
        early: Duration::ZERO,
        patience: PATIENCE,
    }
}

fn leased(hand: Hand, entry: Entry, token: String) -> Guard<(Entry, String)> {
    Guard::new(hand, (entry, token), |hand, (entry, token)| {
        Box::pin(async move { drop(hand.run(load::give_back(entry, token)).await) })
    })
}

/// Changes a truth that is not a document, as `Cache::invalidate_around`.
pub(crate) async fn invalidate_around(
    hand: &Hand,
    entry: &Entry,
    change: impl AsyncFnOnce(),
) -> Result<CacheOutcome> {
    let scope = Scope {
        what: "a change".to_owned(),
        steps: vec![vec![entry.clone()]],
        raises: Vec::new(),
        lock: None,
        release: false,
        params: Params::new(),
        token: hand.token(),
        mark_ttl: MARK_TTL,
    };
    let begun = hand.to_its_end(|hand| async move {
        let intent = hand.run(around::begin(scope)).await?;
        Ok(begun(hand, intent))
    });
    let begun = begun.await?;
    change().await;
    let ended = hand.to_its_end(|hand| async move {
        let intent = begun.into_owned();
        hand.run(around::end(intent)).await
    });
    ended.await
}

fn begun(hand: Hand, intent: Intent) -> Guard<Intent> {
    Guard::new(hand, intent, |hand, intent| {
        Box::pin(async move { drop(hand.run(around::end(intent)).await) })
    })
}

/// As `Cache::invalidate`.
pub(crate) async fn invalidate(hand: &Hand, entries: Vec<Entry>) -> Result<()> {
    let asked = invalidation(entries);
    let invalidated = hand.to_its_end(|hand| async move { hand.ask(asked).await });
    invalidated.await
}

fn invalidation(entries: Vec<Entry>) -> Invalidate {
    Invalidate {
        entries,
        raises: Vec::new(),
        token: String::new(),
        release: None,
    }
}
