//! Random histories: writers, readers, loaders of a dependent and replayers take turns in any order, die, and lose replies; the
//! server is away, restarts without its memory, evicts; time passes. What everybody is told must be true.

mod record;

use crate::{
    disk::sim::{SimDisk, Weakness},
    op::{Stamp, keys::sibling},
    protocol::{Guarantee, lock::Expect},
    sim::{
        actor::Hand,
        cast::{LOCK_TTL, Paper, Saves, bring, derive, entry, leases},
        choices::{Choices, some},
        server::{Fate, ServerWeakness, SimServer},
        world::World,
    },
};
use record::Record;
use std::{cell::RefCell, collections::BTreeMap, rc::Rc, time::Duration};

/// Histories in one test; `CACHETX_SIM_RUNS` overrides it.
const HISTORIES: u64 = 500;
/// The same with `CACHETX_SOAK`.
const SOAK_HISTORIES: u64 = 100_000;
/// Choices in one history, until all who live are let to their end.
const TURNS: usize = 250;
/// Scripts that live at the same time.
const CROWD: usize = 5;
/// Times that a reader reads.
const READS: u32 = 3;
/// Longer than a turn; a poll; a file's youth; half a mark's life; a mark's life; a lock's.
const PAUSES_MS: [u64; 6] = [1, 100, 3_000, 16_000, 31_000, 61_000];

/// What a history is like.
#[derive(Clone, Copy, Debug)]
struct Setting {
    guarantee: Guarantee,
    disk: Option<Weakness>,
    server: Option<ServerWeakness>,
    /// Whether the server may come back from an older snapshot: dependents are not right then until the echo, or their TTL.
    old_snapshots: bool,
    replay: bool,
    /// Whether a dependent has to be right after the replay even of a save whose writer has died.
    crashes_count: bool,
}

impl Setting {
    fn of(guarantee: Guarantee) -> Self {
        Self {
            guarantee,
            disk: None,
            server: None,
            old_snapshots: false,
            replay: true,
            crashes_count: guarantee == Guarantee::CrashSafe,
        }
    }
}

struct History<'a> {
    setting: Setting,
    world: World,
    paper: Paper,
    record: Rc<RefCell<Record>>,
    choices: &'a mut Choices,
    away: bool,
    /// Whether anything went wrong, or time passed, so that somebody may have been kept from letting a lock go.
    troubled: bool,
    snapshot: crate::engine::MemoryServer,
    numbers: u64,
}

impl<'a> History<'a> {
    fn new(setting: Setting, choices: &'a mut Choices) -> Self {
        let mut world = World::new(SimDisk::new(), SimServer::new(setting.server));
        let paper = Paper::new("climate", &["wepp"], setting.guarantee);
        let made = paper.clone();
        let created = world.do_now("creator", |hand| async move { made.create(&hand, 1).await });
        created.expect("created");
        world.disk.weaken(setting.disk);
        world.advance(Duration::from_secs(3));
        Self {
            setting,
            snapshot: world.server.memory.copy(),
            world,
            paper,
            record: Rc::default(),
            choices,
            away: false,
            troubled: false,
            numbers: 1,
        }
    }

    fn play(&mut self) {
        for _ in 0..TURNS {
            self.go_on();
            if self.record.borrow().wrong.is_some() {
                return;
            }
        }
        self.away = false;
        while !self.world.living().is_empty() {
            match self.world.ready().first() {
                Some(who) => self.world.turn(*who, Fate::Answered),
                None => self.world.wait_for_somebody(),
            }
        }
    }

    fn go_on(&mut self) {
        let ready = self.world.ready();
        let crowded = self.world.living().len() >= CROWD;
        match self.choices.choose(40) {
            0..6 if !crowded => self.come(),
            6 => {
                let ms = PAUSES_MS[self.choices.choose(PAUSES_MS.len())];
                self.troubled = true;
                self.world.advance(Duration::from_millis(ms));
            }
            7 if self.choices.once_in(3) => self.trouble(),
            _ if ready.is_empty() => self.world.wait_for_somebody(),
            _ => {
                let who = ready[self.choices.choose(ready.len())];
                if self.choices.once_in(60) {
                    self.troubled = true;
                    return self.world.crash(who);
                }
                let fate = self.fate();
                self.world.turn(who, fate);
            }
        }
    }

    fn fate(&mut self) -> Fate {
        let fate = match self.choices.choose(30) {
            _ if self.away => Fate::Away,
            1 => Fate::Away,
            2 => Fate::Dropped,
            3 => Fate::Unanswered,
            _ => Fate::Answered,
        };
        self.troubled |= fate != Fate::Answered;
        fate
    }

    /// Something befalls the server.
    fn trouble(&mut self) {
        self.troubled = true;
        let lock = self.paper.lock_key();
        match self.choices.choose(4) {
            _ if self.away => {
                self.away = false;
                self.world.befalls("the server is back");
            }
            0 => {
                self.away = true;
                self.world.befalls("the server is away");
            }
            1 => {
                self.world.befalls("the server restarts empty");
                self.world.server.memory.restart_from(&Default::default());
            }
            2 if self.setting.old_snapshots => {
                self.world.befalls("the server restarts from a snapshot");
                self.world.server.memory.restart_from(&self.snapshot);
                self.snapshot = self.world.server.memory.copy();
            }
            _ => {
                let own = self.paper.own.value.clone();
                let dependent = entry("wepp").value;
                let stamps = [&own, &dependent].map(|value| sibling(value, "stamp"));
                let fence = sibling(&lock, "fence");
                let keys = [vec![own, dependent, leases(), lock, fence], stamps.to_vec()].concat();
                let key = &keys[self.choices.choose(keys.len())];
                self.world.befalls(format!("{key} is evicted"));
                self.world.server.evict(key);
            }
        }
    }

    /// Somebody new.
    fn come(&mut self) {
        let (paper, record) = (self.paper.clone(), self.record.clone());
        match self.choices.choose(8) {
            0..3 => {
                self.numbers += 1;
                let number = self.numbers;
                self.world.start("writer", move |hand| async move {
                    let saved = paper.change(&hand, number).await;
                    record.borrow_mut().saved(number, hand.tick(), &saved);
                });
            }
            3 | 4 => {
                self.world
                    .start("reader", |hand| reader(hand, paper, record));
            }
            5 | 6 => {
                self.world
                    .start("loader", |hand| loader(hand, paper, record));
            }
            _ => {
                self.world
                    .start("replayer", |hand| async move { drop(bring(&hand).await) });
            }
        }
    }

    /// What has to hold when all is over.
    fn end(&mut self) -> Result<(), String> {
        if !self.troubled {
            self.lock(Duration::ZERO)
                .map_err(|e| format!("nothing went wrong, and the lock is not free: {e}"))?;
        }
        let document = self.read()?;
        self.record.borrow_mut().ended(&document);
        if self.setting.replay {
            let brought = |hand: Hand| async move { bring(&hand).await };
            let done = self
                .world
                .do_now("replayer", brought)
                .map_err(|e| e.to_string())?;
            if self.world.outboxes.waiting() > 0 {
                return Err(format!("the outbox is not empty: {done:?}"));
            }
        }
        if !self.setting.old_snapshots {
            let from = [self.paper.clone()];
            let derived = |hand| async move { derive(&hand, &entry("wepp"), &from).await };
            let (got, _) = self
                .world
                .do_now("loader", derived)
                .map_err(|e| e.to_string())?;
            self.record.borrow_mut().replayed(&got);
            if self.setting.crashes_count && got != document {
                return Err(format!("a dependent of {document:?} is of {got:?}"));
            }
        }
        self.world.advance(LOCK_TTL);
        self.lock(Duration::ZERO)
            .map_err(|e| format!("the lock's TTL is over, and it is not free: {e}"))
    }

    fn lock(&mut self, wait: Duration) -> Result<(), String> {
        let paper = self.paper.clone();
        let locked = self.world.do_now("last writer", |hand| async move {
            let held = paper.lock(&hand, Expect::Document, wait).await?;
            paper.save(&hand, held, 0).await
        });
        locked.map(drop).map_err(|e| e.to_string())
    }

    fn read(&mut self) -> Result<Saves, String> {
        let paper = self.paper.clone();
        let read = |hand| async move { paper.read(&hand).await };
        let got = self.world.do_now("last reader", read);
        got.map(|(saves, _)| saves).map_err(|e| e.to_string())
    }
}

/// Reads again and again, and keeps what it read under its stamp where nothing else can have that stamp.
async fn reader(hand: Hand, paper: Paper, record: Rc<RefCell<Record>>) {
    let mut kept: Option<(Stamp, Saves)> = None;
    for _ in 0..READS {
        hand.begin();
        let stamp = hand.glance(&paper.place).await;
        if let Some((of, saves)) = &kept
            && stamp == Some(*of)
        {
            let mut record = record.borrow_mut();
            record.count("a snapshot was read");
            record.read(hand.began(), saves);
            continue;
        }
        match paper.read_whole(&hand).await {
            Ok((found, saves)) => {
                record.borrow_mut().read(hand.began(), &saves);
                kept = found.settled.then_some((found.stamp, saves));
            }
            Err(e) => {
                record.borrow_mut().wrong = Some(format!("a reader: {e}"));
                return;
            }
        }
    }
}

async fn loader(hand: Hand, paper: Paper, record: Rc<RefCell<Record>>) {
    hand.begin();
    let derived = derive(&hand, &entry("wepp"), &[paper]).await;
    let mut record = record.borrow_mut();
    match derived {
        Ok((saves, way)) => record.derived(hand.began(), &saves, way),
        Err(e) => record.wrong = Some(format!("a loader: {e}")),
    }
}

/// Plays histories; what happened in them, or the first in which somebody was told what is not so.
fn play(setting: Setting, histories: u64) -> Result<BTreeMap<&'static str, u64>, String> {
    let mut counts = BTreeMap::new();
    some(histories, |choices| {
        let mut history = History::new(setting, choices);
        history.play();
        let mut wrong = history.record.borrow().wrong.clone();
        if wrong.is_none() {
            wrong = history
                .end()
                .err()
                .or(history.record.borrow().wrong.clone());
        }
        for (what, times) in &history.record.borrow().counts {
            *counts.entry(*what).or_default() += times;
        }
        match wrong {
            Some(why) => Err(format!("{setting:?}: {why}\n  {}", history.world.story())),
            None => Ok(()),
        }
    })?;
    Ok(counts)
}

fn histories() -> u64 {
    match std::env::var_os("CACHETX_SOAK") {
        Some(_) => SOAK_HISTORIES,
        None => HISTORIES,
    }
}

#[test]
fn in_random_histories_everybody_is_told_the_truth() {
    for guarantee in [Guarantee::BestEffort, Guarantee::CrashSafe] {
        let counts =
            play(Setting::of(guarantee), histories()).unwrap_or_else(|why| panic!("{why}"));
        println!("{guarantee:?}: {counts:?}");
        if std::env::var_os("CACHETX_SIM_SEED").is_some() {
            continue;
        }
        // Where nothing happens, nothing is shown.
        for what in [
            "committed",
            "invalidated",
            "deferred",
            "refused: the lock is held",
            "refused: the server is away",
            "a snapshot was read",
            "a dependent was found",
            "a dependent was loaded and filled",
            "a dependent was loaded and not filled",
        ] {
            let times = counts.get(what).copied().unwrap_or(0);
            assert!(times > 0, "{what}: never; {counts:?}");
        }
    }
}

#[test]
fn documents_are_right_whatever_old_snapshot_the_server_comes_back_from() {
    let setting = Setting {
        old_snapshots: true,
        ..Setting::of(Guarantee::BestEffort)
    };
    play(setting, histories() / 2).unwrap_or_else(|why| panic!("{why}"));
}

#[test]
fn histories_find_each_weakness() {
    let (plain, safe) = (
        Setting::of(Guarantee::BestEffort),
        Setting::of(Guarantee::CrashSafe),
    );
    for setting in [
        Setting {
            server: Some(ServerWeakness::FillsWithoutLease),
            ..plain
        },
        Setting {
            server: Some(ServerWeakness::KeepsDependents),
            ..plain
        },
        Setting {
            disk: Some(Weakness::NoSidecarLock),
            ..plain
        },
        Setting {
            disk: Some(Weakness::DeafToTimes),
            ..plain
        },
        Setting {
            replay: false,
            ..plain
        },
        Setting {
            crashes_count: true,
            ..plain
        },
        Setting {
            replay: false,
            ..safe
        },
    ] {
        let why = play(setting, 20 * HISTORIES).expect_err("a weakness that nothing shows");
        println!("{}", why.lines().next().unwrap_or_default());
    }
}
