//! Updates, saves under the lock and deletions of one document beside each other, in every order. Requests may be held up on their
//! way, and the server may lose something once.

use crate::{
    Error, Result,
    disk::{FileAction, sim::SimDisk},
    op::{Ask as _, Op, Read, ReadReply, Reply, keys::sibling},
    protocol::{Action, Guarantee, lock::Expect},
    sim::{
        actor::Hand,
        cast::{Paper, Saves, bring, parse},
        choices::{Choices, every},
        server::{Fate, ServerWeakness, SimServer},
        world::World,
    },
};
use std::{cell::RefCell, rc::Rc, time::Duration};

const A_WHILE: Duration = Duration::from_secs(3);
const WAIT: Duration = Duration::from_secs(5);
/// Orders in one test, at most.
const MOST: u64 = 10_000_000;
const TRIES: u32 = 2;

/// What becomes of one request.
const FATES: [Fate; 4] = [Fate::Answered, Fate::Late, Fate::SentTwice, Fate::Away];

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Part {
    /// As in a store whose documents have locks: it waits for the lock where somebody holds it.
    Update,
    /// As in a store without locks.
    UpdateAlone,
    /// Under the lock.
    Save,
    Delete,
}

/// What may happen once, at any moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mishap {
    /// The own entry's stamp is evicted.
    Eviction,
    /// The own entry is deleted by another program.
    Deletion,
    /// The server comes back empty.
    Restart,
    /// An operator clears the lock.
    Clearing,
}

#[derive(Clone, Copy, Debug)]
struct Setting {
    parts: &'static [Part],
    mishaps: &'static [Mishap],
    /// Requests that may be late, or not sent.
    late: u32,
    guarantee: Guarantee,
    weakness: Option<ServerWeakness>,
}

impl Setting {
    const fn of(parts: &'static [Part]) -> Self {
        Self {
            parts,
            mishaps: &[],
            late: 1,
            guarantee: Guarantee::BestEffort,
            weakness: None,
        }
    }
}

/// Before which actions another one may have a turn: those that it can see.
fn is_point(action: &Action) -> bool {
    match action {
        Action::Server(Op::Release(_)) => false,
        Action::Server(_) => true,
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

fn may_be_late(action: &Action) -> bool {
    matches!(
        action,
        Action::Server(Op::Commit(_) | Op::Invalidate(_) | Op::Prepare(_))
    )
}

/// Who did what, and what it was told.
type Said = Rc<RefCell<Vec<(Part, u64, Result<(), Error>)>>>;

async fn act(paper: Paper, hand: Hand, part: Part, number: u64) -> Result<()> {
    let done = match part {
        Part::Save => {
            let held = paper.lock(&hand, Expect::Document, WAIT).await;
            // Whoever does not get the lock is not robbed of it.
            let Ok(held) = held else {
                return Err(Error::new(crate::error::Kind::Config("no lock".to_owned())));
            };
            paper.save(&hand, held, number).await.map(drop)
        }
        Part::Delete => paper.delete(&hand).await.map(drop),
        Part::Update | Part::UpdateAlone => {
            let looks = part == Part::Update;
            let mut tries = 0;
            loop {
                tries += 1;
                match paper.update(&hand, looks, number).await {
                    Err(e) if e.is_conflict() && tries < TRIES => {}
                    Err(e) if e.is_lock_held() => {
                        break paper.change(&hand, number).await.map(drop);
                    }
                    done => break done.map(drop),
                }
            }
        }
    };
    hand.pause().await;
    done
}

struct Stage {
    world: World,
    paper: Paper,
    setting: Setting,
}

impl Stage {
    fn new(setting: Setting) -> Self {
        let paper = Paper::new("climate", &["wepp"], setting.guarantee);
        let mut world = World::new(SimDisk::new(), SimServer::new(setting.weakness));
        let made = paper.clone();
        let create = |hand| async move { made.create(&hand, 1).await };
        world.do_now("creator", create).expect("created");
        world.advance(A_WHILE);
        Self {
            world,
            paper,
            setting,
        }
    }

    fn play(&self, choices: &mut Choices) -> Result<(), String> {
        let (mut world, said) = (self.world.copy(), Said::default());
        for (n, part) in self.setting.parts.iter().copied().enumerate() {
            let (paper, said, number) = (self.paper.clone(), said.clone(), n as u64 + 2);
            world.start(&format!("{part:?} of {number}"), move |hand| async move {
                let done = act(paper, hand, part, number).await;
                said.borrow_mut().push((part, number, done));
            });
        }
        let (mut late, mut mishaps) = (self.setting.late, self.setting.mishaps);
        while !world.living().is_empty() {
            let ready = world.ready();
            let at_point = |who| world.next(who).is_some_and(is_point);
            let who = match ready.iter().find(|who| !at_point(**who)) {
                Some(who) => *who,
                None if ready.is_empty() => {
                    world.wait_for_somebody();
                    continue;
                }
                None => {
                    let due = world.server.late();
                    let chosen = choices.choose(ready.len() + due + mishaps.len());
                    match ready.get(chosen) {
                        Some(who) => *who,
                        None if chosen < ready.len() + due => {
                            world.deliver(0);
                            continue;
                        }
                        None => {
                            self.suffer(&mut world, mishaps[chosen - ready.len() - due]);
                            mishaps = &[];
                            continue;
                        }
                    }
                }
            };
            let fate = match late > 0 && world.next(who).is_some_and(may_be_late) {
                true => FATES[choices.choose(FATES.len())],
                false => Fate::Answered,
            };
            late -= u32::from(fate != Fate::Answered);
            world.turn(who, fate);
        }
        // What an outbox has is replayed, before or after the last request that was late.
        let replay = |hand| async move { bring(&hand).await };
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
        self.check(&mut world, &said.borrow())
            .map_err(|why| format!("{why}\n  {}", world.story()))
    }

    fn suffer(&self, world: &mut World, mishap: Mishap) {
        world.befalls(format!("{mishap:?}"));
        let own = &self.paper.own.value;
        match mishap {
            Mishap::Eviction => world.server.evict(&sibling(own, "stamp")),
            Mishap::Deletion => world.server.evict(own),
            Mishap::Restart => world.server.restart_from(&Default::default()),
            Mishap::Clearing => world.server.evict(&self.paper.lock_key()),
        }
    }

    fn check(
        &self,
        world: &mut World,
        said: &[(Part, u64, Result<(), Error>)],
    ) -> Result<(), String> {
        let asked = Read {
            entry: self.paper.own.clone(),
            life: false,
        };
        let found = world.server.perform(&asked.into_op(), Fate::Answered);
        let Ok(Reply::Read(ReadReply::Found { value, .. })) = found else {
            panic!("{found:?}");
        };
        let value = value.map(|bytes| parse(&bytes).expect("a list"));
        let paper = self.paper.clone();
        let read = world.do_now("last reader", |hand| async move { paper.read(&hand).await });
        let file: Option<Saves> = read.ok();
        if value.is_some() && value != file {
            return Err(format!("stale: {value:?} instead of {file:?}"));
        }
        let deleted = said
            .iter()
            .any(|(part, _, done)| *part == Part::Delete && done.is_ok());
        if file.is_none() != deleted {
            return Err(format!("{file:?} though deleted is {deleted}"));
        }
        for (part, number, done) in said {
            match done {
                Ok(())
                    if *part != Part::Delete
                        && file.as_ref().is_some_and(|saves| !saves.contains(number)) =>
                {
                    return Err(format!("lost: {number} of {part:?} in {file:?}"));
                }
                Err(e)
                    if *part == Part::Save
                        && self.setting.mishaps.is_empty()
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

fn every_order(setting: Setting) -> Result<u64, String> {
    let stage = Stage::new(setting);
    every(MOST, |choices| stage.play(choices))
}

/// In more orders than `least`.
fn nothing_goes_wrong(setting: Setting, least: u64) {
    let orders = every_order(setting).unwrap_or_else(|why| panic!("{why}"));
    println!("{setting:?}: {orders} orders");
    assert!(orders > least, "{orders}");
}

const MISHAPS: &[Mishap] = &[Mishap::Eviction, Mishap::Deletion, Mishap::Restart];

/// Nothing acknowledged is lost, no entry is stale, and whoever holds the lock saves.
#[test]
fn updates_and_holders_of_the_lock_leave_each_other_alone() {
    use Part::{Delete, Save, Update};
    for parts in [&[Update, Save], &[Update, Update], &[Update, Delete]] {
        for guarantee in [Guarantee::BestEffort, Guarantee::CrashSafe] {
            let setting = Setting {
                guarantee,
                ..Setting::of(parts)
            };
            nothing_goes_wrong(setting, 100);
        }
    }
}

/// Whoever of two holders saves second may be refused here, since the server may forget the first one's lock.
#[test]
fn saves_and_deletions_under_the_lock_leave_nothing_stale() {
    use Part::{Delete, Save};
    for (parts, late, mishaps) in [
        (&[Save, Save], 1, &[Mishap::Clearing, Mishap::Restart][..]),
        (&[Save, Delete], 2, &[][..]),
    ] {
        let setting = Setting {
            late,
            mishaps,
            ..Setting::of(parts)
        };
        nothing_goes_wrong(setting, 1_000);
    }
}

#[test]
fn an_update_that_does_not_look_robs_a_holder_of_the_lock() {
    let setting = Setting::of(&[Part::UpdateAlone, Part::Save]);
    let why = every_order(setting).expect_err("the holder saves");
    assert!(why.contains("robbed: "), "{why}");
}

/// The server may lose anything meanwhile.
#[test]
fn updates_of_a_store_without_locks_leave_nothing_stale() {
    use Part::{Delete, UpdateAlone};
    for parts in [&[UpdateAlone, UpdateAlone], &[UpdateAlone, Delete]] {
        let setting = Setting {
            mishaps: MISHAPS,
            ..Setting::of(parts)
        };
        nothing_goes_wrong(setting, 1_000);
    }
}

#[test]
fn an_update_that_sets_its_entry_over_anything_leaves_it_stale() {
    let setting = Setting {
        mishaps: MISHAPS,
        weakness: Some(ServerWeakness::SetsOverAnything),
        ..Setting::of(&[Part::UpdateAlone, Part::UpdateAlone])
    };
    let why = every_order(setting).expect_err("nothing stale");
    assert!(why.contains("stale: "), "{why}");
}
