//! One history: the participants, the order of their turns and the failures are all choices.

use super::{Setting, record::Record};
use crate::{
    disk::{Version, sim::SimDisk},
    engine::MemoryServer,
    op::keys::sibling,
    protocol::lock::Expect,
    sim::{
        actor::Hand,
        calls::derive,
        cast::{LOCK_TTL, Paper, Saves, bring, entry, leases},
        choices::Choices,
        server::{Fate, SimServer},
        world::World,
    },
};
use std::{cell::RefCell, collections::BTreeMap, rc::Rc, time::Duration};

/// The number of choices in one history; after them all living scripts run to their ends.
const TURNS: usize = 250;
/// The maximum number of scripts that live at the same time.
const CROWD: usize = 5;
/// How often a reader reads.
const READS: u32 = 3;
/// Longer than: a turn; a poll; the time that a file is young; half a mark's life; a mark's life; a
/// lock's life.
const PAUSES_MS: [u64; 6] = [1, 100, 3_000, 16_000, 31_000, 61_000];

pub(super) struct History<'a> {
    setting: Setting,
    world: World,
    paper: Paper,
    record: Rc<RefCell<Record>>,
    choices: &'a mut Choices,
    away: bool,
    /// Whether anything went wrong, or time passed, so that a script may have been unable to
    /// release a lock.
    troubled: bool,
    snapshot: MemoryServer,
    numbers: u64,
}

impl<'a> History<'a> {
    pub(super) fn new(setting: Setting, choices: &'a mut Choices) -> Self {
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

    /// All scripts take turns, then run to their ends.
    pub(super) fn play(&mut self) -> Result<(), String> {
        for _ in 0..TURNS {
            self.go_on();
            self.told()?;
        }
        self.away = false;
        while self.world.server.late() > 0 {
            self.world.deliver(0);
        }
        while !self.world.living().is_empty() {
            match self.world.ready().first() {
                Some(who) => self.world.turn(*who, Fate::Answered),
                None => self.world.wait_for_somebody(),
            }
        }
        self.told()
    }

    /// Fails if a script got a result that is not true.
    fn told(&self) -> Result<(), String> {
        match &self.record.borrow().wrong {
            Some(why) => Err(why.clone()),
            None => Ok(()),
        }
    }

    pub(super) fn count(&self, counts: &mut BTreeMap<&'static str, u64>) {
        for (what, times) in &self.record.borrow().counts {
            *counts.entry(what).or_default() += times;
        }
    }

    pub(super) fn story(&self) -> String {
        self.world.story()
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
            8 | 9 if self.world.server.late() > 0 && !self.away => {
                let n = self.choices.choose(self.world.server.late());
                self.world.deliver(n);
            }
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
            4 => Fate::Late,
            _ => Fate::Answered,
        };
        self.troubled |= fate != Fate::Answered;
        fate
    }

    /// Something happens to the server.
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
                self.world.server.restart_from(&Default::default());
            }
            2 if self.setting.old_snapshots => {
                self.world.befalls("the server restarts from a snapshot");
                self.world.server.restart_from(&self.snapshot);
                self.snapshot = self.world.server.memory.copy();
            }
            _ => {
                let own = self.paper.own.value.to_string();
                let dependent = entry("wepp").value.to_string();
                let stamps = [&own, &dependent].map(|value| sibling(value, "stamp"));
                let fence = sibling(&lock, "fence");
                let keys = [vec![own, dependent, leases(), lock, fence], stamps.to_vec()].concat();
                let key = &keys[self.choices.choose(keys.len())];
                self.world.befalls(format!("{key} is evicted"));
                self.world.server.evict(key);
            }
        }
    }

    /// Starts a new script.
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

    /// Checks what must hold when everything is over.
    pub(super) fn end(&mut self) -> Result<(), String> {
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
            .map_err(|e| format!("the lock's TTL is over, and it is not free: {e}"))?;
        self.told()
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
        got.map_err(|e| e.to_string())
    }
}

/// Reads repeatedly, and keeps what it read with the version that identifies it.
async fn reader(hand: Hand, paper: Paper, record: Rc<RefCell<Record>>) {
    let mut kept: Option<(Version, Saves)> = None;
    for _ in 0..READS {
        hand.begin();
        let now = hand.glance(&paper.place).await;
        if let Some((known, saves)) = &kept
            && now.and_then(|now| known.is(&now)) == Some(true)
        {
            let mut record = record.borrow_mut();
            record.count("a snapshot was read");
            record.read(hand.began(), saves);
            continue;
        }
        match paper.read_whole(&hand).await {
            Ok((found, saves)) => {
                record.borrow_mut().read(hand.began(), &saves);
                kept = Some((found.version, saves));
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
