//! The parts that may play in parallel, the events that may happen to them, and what must hold.

use crate::{
    disk::{FileAction, sim::SimDisk},
    model::{Entry, Error, Result, error::Kind},
    op::{Ask as _, Op, Read, ReadReply, Reply, Space, keys::sibling},
    protocol::{Action, Guarantee, Held, lock::Expect},
    sim::{
        actor::Hand,
        calls::{derive, transact},
        cast::{LOCK_TTL, Paper, Saves, bring_in, parse},
        choices::Choices,
        server::{Fate, ServerWeakness, SimServer},
        turns::Chance,
        world::{Who, World},
    },
};
use std::{cell::RefCell, rc::Rc, time::Duration};

const A_WHILE: Duration = Duration::from_secs(3);
const WAIT: Duration = Duration::from_secs(5);
const TRIES: u32 = 2;

/// The possible fates of one request.
const FATES: [Fate; 4] = [Fate::Answered, Fate::Late, Fate::SentTwice, Fate::Away];

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Part {
    /// As in a store whose documents have locks: it waits for the lock if somebody holds it.
    Update,
    /// As in a store without locks.
    UpdateAlone,
    /// Under the lock.
    Save,
    /// Twice under one lock, which the writer keeps.
    DumpTwice,
    Delete,
    /// Another program under the lock, which does not know stamps.
    ByHand,
    /// The document and another one, as one transaction.
    Transact,
    /// Loads a dependent of the document; in a Cluster, the one in another slot.
    Derive,
    /// Asks once for a lock with this TTL, and releases it without a save.
    Hold(Duration),
}

/// An event that may happen once, at any moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Mishap {
    /// The own entry's stamp is evicted.
    Eviction,
    /// Another program deletes the own entry.
    Deletion,
    /// The own entry's server comes back empty.
    Restart,
    /// The server of the dependents in another slot comes back empty.
    RestartApart,
    /// An operator clears the lock.
    Clearing,
}

#[derive(Clone, Copy, Debug)]
pub(super) struct Setting {
    pub(super) parts: &'static [Part],
    pub(super) mishaps: &'static [Mishap],
    /// The number of requests that may be late or not sent.
    pub(super) late: u32,
    /// Whether requests and releases of the lock are among them.
    pub(super) late_locks: bool,
    /// Whether late requests and a mishap only come when all parts are done.
    pub(super) at_the_end: bool,
    /// Whether the server is a Cluster with a dependent in another slot.
    pub(super) cluster: bool,
    /// Times that pass, each at any moment, in this order.
    pub(super) stillness: &'static [Duration],
    pub(super) guarantee: Guarantee,
    pub(super) weakness: Option<ServerWeakness>,
}

impl Setting {
    pub(super) const fn of(parts: &'static [Part]) -> Self {
        Self {
            parts,
            mishaps: &[],
            late: 1,
            late_locks: false,
            at_the_end: false,
            cluster: false,
            stillness: &[],
            guarantee: Guarantee::BestEffort,
            weakness: None,
        }
    }

    fn paper(&self) -> Paper {
        let paper = Paper::new("climate", &["wepp"], self.guarantee);
        match self.cluster {
            true => paper.with_dependents_apart(&["loads"]),
            false => paper,
        }
    }

    fn other(&self) -> Paper {
        Paper::new("ash", &[], self.guarantee)
    }
}

fn may_be_late(action: &Action, part: Part, late_locks: bool) -> bool {
    match action {
        // That program is responsible for its own deletion.
        _ if part == Part::ByHand => false,
        Action::Server(Op::Commit(_) | Op::Invalidate(_) | Op::Prepare(_)) => true,
        Action::Server(Op::Acquire(_) | Op::Release(_)) => late_locks,
        _ => false,
    }
}

/// The part, its number, and its result.
type Done = (Part, u64, Result<()>);

/// The results of the parts.
#[derive(Clone, Default)]
struct Said {
    done: Rc<RefCell<Vec<Done>>>,
    /// A lock that a part has just acquired.
    got: Rc<RefCell<Option<Held>>>,
}

struct Player {
    hand: Hand,
    part: Part,
    number: u64,
    said: Said,
    setting: Setting,
}

impl Player {
    async fn lock(&self, paper: &Paper, ttl: Duration, wait: Duration) -> Result<Held> {
        let held = paper
            .lock_for(&self.hand, Expect::Document, ttl, wait)
            .await?;
        *self.said.got.borrow_mut() = Some(held.clone());
        Ok(held)
    }

    async fn act(self) {
        let done = self.play().await;
        self.hand.pause().await;
        let told = (self.part, self.number, done);
        self.said.done.borrow_mut().push(told);
    }

    async fn play(&self) -> Result<()> {
        let (hand, paper, number) = (&self.hand, self.setting.paper(), self.number);
        match self.part {
            Part::Save => {
                let held = self.lock(&paper, LOCK_TTL, WAIT).await;
                // A part that does not get the lock is not robbed of it.
                let held = held.map_err(|_| Error::new(Kind::Config("no lock".to_owned())))?;
                paper.save(hand, held, number).await.map(drop)
            }
            Part::DumpTwice => {
                let held = self.lock(&paper, LOCK_TTL, WAIT).await?;
                let held = paper.dump(hand, held, number).await?;
                paper.dump(hand, held, number + 10).await.map(drop)
            }
            Part::ByHand => {
                let held = self.lock(&paper, LOCK_TTL, WAIT).await?;
                paper.save_by_hand(hand, held, number).await
            }
            Part::Transact => {
                let both = [paper, self.setting.other()];
                transact(hand, &both, number).await.map(drop)
            }
            Part::Derive => {
                let dependent = paper.dependents().next_back().expect("it has some").clone();
                derive(hand, &dependent, &[paper]).await.map(drop)
            }
            Part::Delete => paper.delete(hand).await.map(drop),
            Part::Hold(ttl) => {
                let held = self.lock(&paper, ttl, Duration::ZERO).await?;
                paper.let_go(hand, held).await
            }
            Part::Update | Part::UpdateAlone => {
                let looks = self.part == Part::Update;
                let mut tries = 0;
                loop {
                    tries += 1;
                    match paper.update(hand, looks, number).await {
                        Err(e) if e.is_conflict() && tries < TRIES => {}
                        Err(e) if e.is_lock_held() => {
                            break paper.change(hand, number).await.map(drop);
                        }
                        done => break done.map(drop),
                    }
                }
            }
        }
    }
}

/// The events that may still happen.
struct Fortune {
    setting: Setting,
    own: Entry,
    lock_key: String,
    /// The first part's script.
    first: Who,
    late: u32,
    mishaps: &'static [Mishap],
    stillness: &'static [Duration],
    said: Said,
}

impl Fortune {
    fn suffer(&mut self, world: &mut World, mishap: Mishap) {
        world.befalls(format!("{mishap:?}"));
        self.mishaps = &[];
        match mishap {
            Mishap::Eviction => world.server.evict(&sibling(&self.own.value, "stamp")),
            Mishap::Deletion => world.server.evict(&self.own.value),
            Mishap::Restart if self.setting.cluster => world.server.forget_slot(&self.own.value),
            Mishap::Restart => world.server.restart_from(&Default::default()),
            Mishap::RestartApart => {
                let paper = self.setting.paper();
                let apart = paper.dependents().next_back().expect("it has some");
                world.server.forget_slot(&apart.value);
            }
            Mishap::Clearing => world.server.evict(&self.lock_key),
        }
    }
}

impl Chance for Fortune {
    fn is_point(&self, _: Who, action: &Action) -> bool {
        match action {
            Action::Server(Op::Release(_)) => false,
            Action::Server(_) => true,
            // Between two tries for a lock.
            Action::Disk(_, FileAction::PeekSidecar) => {
                self.setting.late_locks && !self.setting.at_the_end
            }
            Action::Disk(_, action) => matches!(
                action,
                FileAction::Read
                    | FileAction::LockSidecar
                    | FileAction::Rename { .. }
                    | FileAction::Unlink { .. }
            ),
            _ => false,
        }
    }

    fn events(&self, world: &World) -> usize {
        let still = usize::from(!self.stillness.is_empty());
        match self.setting.at_the_end {
            true => still,
            false => still + world.server.late().min(1) + self.mishaps.len(),
        }
    }

    fn happens(&mut self, world: &mut World, number: usize) {
        let (mut number, mut late) = (number, world.server.late().min(1));
        if self.setting.at_the_end {
            late = 0;
        }
        if let [time, rest @ ..] = self.stillness {
            if number == 0 {
                self.stillness = rest;
                world.befalls(format!("{time:?} pass"));
                return world.advance(*time);
            }
            number -= 1;
        }
        match number.checked_sub(late) {
            None => world.deliver(0),
            Some(number) => self.suffer(world, self.mishaps[number]),
        }
    }

    fn fate(&mut self, who: Who, action: &Action, choices: &mut Choices) -> Fate {
        let part = self.setting.parts[who - self.first];
        let may_be_late = may_be_late(action, part, self.setting.late_locks);
        let fate = match self.late > 0 && may_be_late {
            true => FATES[choices.choose(FATES.len())],
            false => Fate::Answered,
        };
        self.late -= u32::from(fate != Fate::Answered);
        fate
    }

    /// A part that has just acquired a lock must not believe that it lasts longer than the server
    /// has given.
    fn look(&self, world: &World) -> Result<(), String> {
        let Some(held) = self.said.got.take() else {
            return Ok(());
        };
        let believed = held.expires.saturating_sub(world.clock);
        let left = world.server.lock_left(&held.lock);
        let may_be_lost = !self.setting.mishaps.is_empty();
        match left.is_some_and(|left| left >= believed) || believed.is_zero() || may_be_lost {
            true => Ok(()),
            false => Err(format!(
                "believes in {believed:?}, the server has {left:?}\n  {}",
                world.story()
            )),
        }
    }
}

pub(super) struct Stage {
    world: World,
    setting: Setting,
}

impl Stage {
    pub(super) fn new(setting: Setting) -> Self {
        let server = SimServer::new(setting.weakness);
        let server = match setting.cluster {
            true => server.in_slots(),
            false => server,
        };
        let mut world = World::new(SimDisk::new(), server);
        for made in [setting.paper(), setting.other()] {
            let create = |hand| async move { made.create(&hand, 1).await };
            world.do_now("creator", create).expect("created");
        }
        world.advance(A_WHILE);
        Self { world, setting }
    }

    pub(super) fn play(&self, choices: &mut Choices) -> Result<(), String> {
        let (mut world, said, setting) = (self.world.copy(), Said::default(), self.setting);
        let mut started = Vec::new();
        for (n, part) in setting.parts.iter().copied().enumerate() {
            let (number, said) = (n as u64 + 2, said.clone());
            started.push(world.start(&format!("{part:?} of {number}"), |hand| {
                let player = Player {
                    hand,
                    part,
                    number,
                    said,
                    setting,
                };
                player.act()
            }));
        }
        let paper = setting.paper();
        let mut fortune = Fortune {
            lock_key: paper.lock_key(),
            own: paper.own,
            first: started[0],
            late: setting.late,
            mishaps: setting.mishaps,
            stillness: setting.stillness,
            said: said.clone(),
            setting,
        };
        world.play(choices, &mut fortune)?;
        if setting.at_the_end {
            for mishap in setting.mishaps {
                fortune.suffer(&mut world, *mishap);
            }
        }
        // The outbox is replayed, before or after the last late request.
        let space = match setting.cluster {
            true => Space::Slots,
            false => Space::Whole,
        };
        let replay = |hand| async move { bring_in(&hand, space).await };
        let replayed_first = world.server.late() > 0 && choices.choose(2) == 0;
        if replayed_first {
            world.do_now("replayer", replay).expect("replayed");
        }
        while world.server.late() > 0 {
            world.deliver(0);
        }
        if !replayed_first {
            world.do_now("replayer", replay).expect("replayed");
        }
        self.check(&mut world, &said.done.borrow())
            .map_err(|why| format!("{why}\n  {}", world.story()))
    }

    fn check(&self, world: &mut World, said: &[Done]) -> Result<(), String> {
        let stored = |server: &SimServer, entry: &Entry| {
            let (entry, life) = (entry.clone(), false);
            let asked = Read { entry, life }.into_op();
            match server.perform(&asked, Fate::Answered) {
                Ok(Reply::Read(ReadReply::Found { value, .. })) => {
                    value.map(|bytes| parse(&bytes).expect("a list"))
                }
                found => panic!("{found:?}"),
            }
        };
        let paper = self.setting.paper();
        let value = stored(&world.server, &paper.own);
        let reader = paper.clone();
        let read = world.do_now(
            "last reader",
            |hand| async move { reader.read(&hand).await },
        );
        let file: Option<Saves> = read.ok();
        if value.is_some() && value != file {
            return Err(format!("stale: {value:?} instead of {file:?}"));
        }
        for dependent in paper.dependents() {
            let dependent = stored(&world.server, dependent);
            if dependent.is_some() && dependent != file {
                return Err(format!("stale: of {dependent:?} instead of {file:?}"));
            }
        }
        let deleted = said
            .iter()
            .any(|(part, _, done)| *part == Part::Delete && done.is_ok());
        if file.is_none() != deleted {
            return Err(format!("{file:?} though deleted is {deleted}"));
        }
        let keeps_all = self.setting.mishaps.is_empty();
        if let Some([one, next]) = world.server.fence_that_fell().filter(|_| keeps_all) {
            return Err(format!("fences: {next} after {one}"));
        }
        let is_quiet = keeps_all && self.setting.stillness.is_empty();
        for (part, number, done) in said {
            let saves = !matches!(part, Part::Delete | Part::Derive | Part::Hold(_));
            match done {
                Ok(()) if saves && file.as_ref().is_some_and(|saves| !saves.contains(number)) => {
                    return Err(format!("lost: {number} of {part:?} in {file:?}"));
                }
                Err(e)
                    if matches!(part, Part::Save | Part::Transact)
                        && is_quiet
                        && (e.is_conflict() || e.is_fenced()) =>
                {
                    return Err(format!("robbed: {number}: {e}"));
                }
                _ => {}
            }
        }
        Ok(())
    }
}
