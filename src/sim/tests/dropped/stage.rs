//! The documents, and the two processes that are at work on them.

use super::{Call, Fortune, Other, Setting};
use crate::{
    disk::{journal, sim::SimDisk},
    model::{Error, Result},
    protocol::{Held, lock::Expect},
    sim::{
        actor::{Caller, Hand},
        calls::{
            commit, create, delete, dump, get_or_load, invalidate, invalidate_around, lock,
            lock_all, put, read, save, unlock, update,
        },
        cast::{LEASE_TTL, Paper, RUN, Saves, entry, leases, parse},
        choices::Choices,
        server::SimServer,
        world::World,
    },
};
use std::{
    cell::{Cell, RefCell},
    collections::BTreeSet,
    rc::Rc,
    time::Duration,
};

/// A caller's patience for a lock.
const WAIT: Duration = Duration::from_secs(2);

/// The truths: documents, and a number that is not in a document.
#[derive(Clone)]
struct Truths {
    /// The third does not exist in the beginning.
    papers: [Paper; 3],
    rates: Rc<RefCell<Saves>>,
}

impl Truths {
    /// What is derived from all documents that exist.
    async fn totals(&self, hand: &Hand) -> Result<Saves> {
        let load = async || {
            let mut saves = Vec::new();
            for paper in &self.papers {
                match read(hand, paper).await {
                    Err(e) if e.is_not_found() => {}
                    read => saves.extend(read?),
                }
            }
            Ok(saves)
        };
        Ok(get_or_load(hand, &entry("totals"), load).await?.0)
    }

    async fn prices(&self, hand: &Hand) -> Result<Saves> {
        let load = async || {
            hand.pause().await;
            Ok(self.rates.borrow().clone())
        };
        Ok(get_or_load(hand, &entry("prices"), load).await?.0)
    }
}

/// What the two processes tell.
#[derive(Clone, Default)]
struct Said {
    /// The number that it has begun to save: dropping the call does not change that.
    saves: Rc<Cell<Option<u64>>>,
    /// Errors of the call, and of the other process.
    failures: Rc<RefCell<Vec<Error>>>,
}

/// The state before the play.
pub(super) struct Stage {
    setting: Setting,
    world: World,
    truths: Truths,
    /// Whoever holds a lock.
    held: Option<Held>,
}

impl Stage {
    pub(super) fn new(setting: Setting) -> Self {
        let truths = Truths {
            papers: ["soils", "climate", "ash"]
                .map(|name| Paper::new(name, &["totals"], setting.guarantee)),
            rates: Rc::new(RefCell::new(vec![1])),
        };
        let mut world = World::new(SimDisk::new(), SimServer::new(None));
        let [soils, climate, _] = truths.papers.clone();
        for paper in [soils, climate] {
            let create = |hand| async move { paper.create(&hand, 1).await };
            world.do_now("creator", create).expect("created");
        }
        match setting.call {
            // Not from the cache.
            Call::Read => world.server.evict(&truths.papers[0].own.value),
            Call::Load => {}
            _ => {
                let read = truths.clone();
                world.do_now("reader", |hand| async move {
                    read.totals(&hand).await.expect("derived");
                    read.prices(&hand).await.expect("derived");
                });
            }
        }
        let mut stage = Self {
            setting,
            world,
            truths,
            held: None,
        };
        if setting.other == Other::Holds {
            let paper = stage.common().clone();
            let lock = |hand| async move {
                let wait = Duration::ZERO;
                paper.lock(&hand, Expect::Document, wait).await
            };
            stage.held = Some(stage.world.do_now("other", lock).expect("locked"));
        }
        stage
    }

    /// The document that both processes write.
    fn common(&self) -> &Paper {
        let [first, second, _] = &self.truths.papers;
        match self.setting.call {
            // It has another lock meanwhile.
            Call::Transaction => second,
            _ => first,
        }
    }

    pub(super) fn play(
        &self,
        choices: &mut Choices,
        moments: &mut BTreeSet<usize>,
    ) -> Result<(), String> {
        let mut world = self.world.copy();
        let began = world.clock;
        let truths = Truths {
            rates: Rc::new(RefCell::new(vec![1])),
            ..self.truths.clone()
        };
        let said = Said::default();
        let setting = self.setting;
        let caller = {
            let (truths, said) = (truths.clone(), said.clone());
            let net = Caller::Tasks(setting.weakness);
            world.start_by(net, "caller", |hand| async move {
                let done = call(&hand, setting.call, &truths, &said).await;
                said.failures.borrow_mut().extend(done.err());
            })
        };
        let (common, held) = (self.common().clone(), self.held.clone());
        let (theirs, failures) = (truths.clone(), Rc::clone(&said.failures));
        world.start("other", |hand| async move {
            let done = match (setting.other, held) {
                (Other::Holds, Some(held)) => {
                    hand.pause().await;
                    common.save(&hand, held, 9).await.map(drop)
                }
                (Other::Saves, _) => common.change(&hand, 9).await.map(drop),
                (Other::Loads, _) if setting.changes_rates() => {
                    theirs.prices(&hand).await.map(drop)
                }
                (Other::Loads, _) => theirs.totals(&hand).await.map(drop),
                _ => Ok(()),
            };
            // The document may have been deleted.
            let failed = done.err().filter(|_| setting.call != Call::Delete);
            failures.borrow_mut().extend(failed);
        });
        let mut fortune = Fortune::new(setting, caller);
        world.play(choices, &mut fortune)?;
        moments.extend(fortune.dropped);
        let checked = match world.clock - began {
            time if time >= LEASE_TTL => Err(format!("what was left may be over after {time:?}")),
            _ => self.check(&mut world, &truths, &said),
        };
        checked.map_err(|why| format!("{why}\n  {}", world.story()))
    }

    fn check(&self, world: &mut World, truths: &Truths, said: &Said) -> Result<(), String> {
        if let Some(failed) = said.failures.borrow().first() {
            return Err(format!("failed: {failed}"));
        }
        let is_left = |key: &str| world.server.memory.contains(key);
        for paper in &truths.papers {
            if is_left(&paper.lock_key()) {
                return Err(format!("{:?}: still locked", paper.place));
            }
        }
        if is_left(&leases()) {
            return Err("a lease or a mark is left".to_owned());
        }
        if world.outboxes.waiting() > 0 {
            return Err("a record is left".to_owned());
        }
        let names = [world.disk.names(RUN), world.disk.names(journal::FOLDER)].concat();
        if names
            .iter()
            .any(|name| name.ends_with(".tmp") || name.ends_with(".journal"))
        {
            return Err(format!("a file is left: {names:?}"));
        }
        self.check_saves(world, truths, said)?;
        // These calls are completed.
        let cached = world.server.cached(&entry("prices"));
        let is_alone = self.setting.other == Other::Nothing;
        match self.setting.call {
            Call::Put if is_alone && cached.is_none() => return Err("not made: a put".to_owned()),
            Call::Invalidate if is_alone && cached.is_some() => {
                return Err("not made: an invalidation".to_owned());
            }
            _ => {}
        }
        let read = truths.clone();
        let (totals, files, prices) = world.do_now("last reader", |hand| async move {
            let totals = read.totals(&hand).await.expect("derived");
            let prices = read.prices(&hand).await.expect("derived");
            let mut files = Vec::new();
            for paper in &read.papers {
                files.extend(paper.read(&hand).await.unwrap_or_default());
            }
            (totals, files, prices)
        });
        if totals != files {
            return Err(format!("stale: {totals:?} instead of {files:?}"));
        }
        let rates = truths.rates.borrow();
        if prices != *rates {
            return Err(format!("stale: {prices:?} instead of {rates:?}"));
        }
        Ok(())
    }

    /// A save is made once the call has begun it, and not before; what is cached is what it made.
    fn check_saves(&self, world: &World, truths: &Truths, said: &Said) -> Result<(), String> {
        let Setting { call, .. } = self.setting;
        for (n, paper) in truths.papers.iter().enumerate() {
            let file = world.disk.document(RUN, &paper.place.file);
            let saves = file.map(|(_, bytes)| parse(&bytes).expect("whole"));
            if let Some(cached) = world.server.cached(&paper.own) {
                let cached = parse(&cached).expect("whole");
                if saves.as_ref() != Some(&cached) {
                    return Err(format!("stale: {cached:?} instead of {saves:?}"));
                }
            }
            let is_written = match call {
                Call::Save | Call::Dump | Call::Update | Call::Delete => n == 0,
                Call::Transaction => n < 2,
                Call::Create => n == 2,
                _ => false,
            };
            let last = said.saves.get().filter(|_| is_written);
            if call == Call::Delete && is_written {
                if saves.is_some() {
                    return Err(format!("not deleted: {saves:?}"));
                }
                continue;
            }
            let made = saves.unwrap_or_default().into_iter();
            let made = made.filter(|number| (2..9).contains(number)).max();
            if made != last {
                return Err(format!("saved: {made:?} instead of {last:?}"));
            }
        }
        Ok(())
    }
}

async fn call(hand: &Hand, call: Call, truths: &Truths, said: &Said) -> Result<()> {
    let [soils, climate, ash] = &truths.papers;
    let saves = |number| said.saves.set(Some(number));
    match call {
        Call::Save => {
            let locked = lock(hand, soils, WAIT).await?;
            hand.pause().await;
            saves(2);
            save(hand, locked, 2).await
        }
        Call::Dump => {
            let locked = lock(hand, soils, WAIT).await?;
            saves(2);
            let locked = dump(hand, locked, 2).await?;
            hand.pause().await;
            unlock(hand, locked).await
        }
        Call::Unlock => {
            let locked = lock(hand, soils, WAIT).await?;
            hand.pause().await;
            unlock(hand, locked).await
        }
        Call::Update => {
            saves(2);
            update(hand, soils, 2).await
        }
        Call::Create => {
            saves(2);
            create(hand, ash, 2).await
        }
        Call::Delete => delete(hand, soils).await,
        Call::Transaction => {
            let locked = lock_all(hand, &[soils.clone(), climate.clone()]).await?;
            hand.pause().await;
            saves(2);
            commit(hand, locked, 2).await.map(drop)
        }
        Call::Read => read(hand, soils).await.map(drop),
        Call::Load => truths.totals(hand).await.map(drop),
        Call::Put => {
            let rates = truths.rates.borrow().clone();
            put(hand, &entry("prices"), &rates).await
        }
        Call::Invalidate => invalidate(hand, vec![entry("totals"), entry("prices")]).await,
        Call::Around => {
            let change = async || {
                hand.pause().await;
                truths.rates.borrow_mut().push(2);
                hand.pause().await;
            };
            let prices = entry("prices");
            let changed = invalidate_around(hand, &prices, change);
            changed.await.map(drop)
        }
    }
}
