//! Updates, saves under the lock and deletions of one document beside each other, in every order. Requests may be held up on their
//! way, and the server may lose something once.

use crate::{
    disk::{FileAction, sim::SimDisk},
    model::{Entry, Error, Result},
    op::{Ask as _, Op, Read, ReadReply, Reply, keys::sibling},
    protocol::{Action, Guarantee, lock::Expect},
    sim::{
        actor::Hand,
        cast::{Paper, Saves, bring, derive, entry, parse, transact},
        choices::{Choices, every, some},
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
/// Of those that are too many to be counted through.
const ORDERS: u64 = 5_000;

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
    /// Twice under one lock, which it keeps.
    DumpTwice,
    Delete,
    /// Another program under the lock: it knows of no stamps.
    ByHand,
    /// The document and another one, as one.
    Transact,
    /// Loads what depends on the document.
    Derive,
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
    /// Whether those that ask for the lock are among them. Then what is late, and mishaps, come when everybody is done.
    late_locks: bool,
    guarantee: Guarantee,
    weakness: Option<ServerWeakness>,
}

impl Setting {
    const fn of(parts: &'static [Part]) -> Self {
        Self {
            parts,
            mishaps: &[],
            late: 1,
            late_locks: false,
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

fn may_be_late(action: &Action, part: Part, late_locks: bool) -> bool {
    match action {
        // Whether its own deletion comes is that program's business.
        _ if part == Part::ByHand => false,
        Action::Server(Op::Commit(_) | Op::Invalidate(_) | Op::Prepare(_)) => true,
        Action::Server(Op::Acquire(_)) => late_locks,
        _ => false,
    }
}

/// Who did what, and what it was told.
type Said = Rc<RefCell<Vec<(Part, u64, Result<(), Error>)>>>;

async fn act(paper: Paper, hand: Hand, part: Part, number: u64) -> Result<()> {
    let done = match part {
        Part::Save => {
            let held = paper.lock(&hand, Expect::Document, WAIT).await;
            // Whoever does not get the lock is not robbed of it.
            let Ok(held) = held else {
                return Err(Error::new(crate::model::error::Kind::Config(
                    "no lock".to_owned(),
                )));
            };
            paper.save(&hand, held, number).await.map(drop)
        }
        Part::DumpTwice => {
            let held = paper.lock(&hand, Expect::Document, WAIT).await?;
            match paper.dump(&hand, held, number).await {
                Ok(held) => paper.dump(&hand, held, number + 10).await.map(drop),
                Err(e) => Err(e),
            }
        }
        Part::ByHand => {
            let held = paper.lock(&hand, Expect::Document, WAIT).await?;
            paper.save_by_hand(&hand, held, number).await
        }
        Part::Transact => {
            let other = Paper::new("ash", &[], paper.guarantee);
            transact(&hand, &[paper, other], number).await.map(drop)
        }
        Part::Derive => derive(&hand, &entry("wepp"), &[paper]).await.map(drop),
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
        let other = Paper::new("ash", &[], setting.guarantee);
        for made in [paper.clone(), other] {
            let create = |hand| async move { made.create(&hand, 1).await };
            world.do_now("creator", create).expect("created");
        }
        world.advance(A_WHILE);
        Self {
            world,
            paper,
            setting,
        }
    }

    fn play(&self, choices: &mut Choices) -> Result<(), String> {
        let (mut world, said) = (self.world.copy(), Said::default());
        let mut first = None;
        for (n, part) in self.setting.parts.iter().copied().enumerate() {
            let (paper, said, number) = (self.paper.clone(), said.clone(), n as u64 + 2);
            let who = world.start(&format!("{part:?} of {number}"), move |hand| async move {
                let done = act(paper, hand, part, number).await;
                said.borrow_mut().push((part, number, done));
            });
            first.get_or_insert(who);
        }
        let first = first.unwrap_or_default();
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
                    let (due, mishaps_now) = match self.setting.late_locks {
                        true => (0, 0),
                        false => (world.server.late(), mishaps.len()),
                    };
                    let chosen = choices.choose(ready.len() + due + mishaps_now);
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
            let part = self.setting.parts[who - first];
            let may_be_late = |action| may_be_late(action, part, self.setting.late_locks);
            let fate = match late > 0 && world.next(who).is_some_and(may_be_late) {
                true => FATES[choices.choose(FATES.len())],
                false => Fate::Answered,
            };
            late -= u32::from(fate != Fate::Answered);
            world.turn(who, fate);
        }
        if self.setting.late_locks {
            mishaps
                .iter()
                .for_each(|mishap| self.suffer(&mut world, *mishap));
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
        let stored = |entry: &Entry| {
            let (entry, life) = (entry.clone(), false);
            let asked = Read { entry, life }.into_op();
            match world.server.perform(&asked, Fate::Answered) {
                Ok(Reply::Read(ReadReply::Found { value, .. })) => {
                    value.map(|bytes| parse(&bytes).expect("a list"))
                }
                found => panic!("{found:?}"),
            }
        };
        let (value, dependent) = (stored(&self.paper.own), stored(&entry("wepp")));
        let paper = self.paper.clone();
        let read = world.do_now("last reader", |hand| async move { paper.read(&hand).await });
        let file: Option<Saves> = read.ok();
        if value.is_some() && value != file {
            return Err(format!("stale: {value:?} instead of {file:?}"));
        }
        if dependent.is_some() && dependent != file {
            return Err(format!("stale: of {dependent:?} instead of {file:?}"));
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
                    if !matches!(part, Part::Delete | Part::Derive)
                        && file.as_ref().is_some_and(|saves| !saves.contains(number)) =>
                {
                    return Err(format!("lost: {number} of {part:?} in {file:?}"));
                }
                Err(e)
                    if matches!(part, Part::Save | Part::Transact)
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

/// Three at a time, with readers of what depends on the document, and another program that has the lock.
#[test]
fn three_at_once_leave_nothing_stale() {
    use Part::{ByHand, Delete, Derive, DumpTwice, Save, Transact, Update};
    for parts in [
        &[Update, Update, Save][..],
        &[Update, Save, Delete],
        &[Update, Update, Derive],
        &[Update, Save, Derive],
        &[Update, Delete, Derive],
        &[Update, DumpTwice],
        &[DumpTwice, Derive],
        &[Update, ByHand],
        &[Update, Transact],
        &[Update, Transact, Derive],
    ] {
        let stage = Stage::new(Setting {
            mishaps: &[],
            ..Setting::of(parts)
        });
        let runs = some(ORDERS, |choices| stage.play(choices));
        println!("{parts:?}: {runs:?}");
        runs.unwrap_or_else(|why| panic!("{parts:?}: {why}"));
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

/// Late copies of a commit: they come after a save that was deferred and replayed, one by a program that knows of no stamps, one that the
/// server has forgotten.
const LATE_COMMITS: [Setting; 3] = [
    Setting {
        late: 3,
        ..Setting::of(&[Part::DumpTwice])
    },
    Setting {
        late: 2,
        ..Setting::of(&[Part::Save, Part::ByHand])
    },
    Setting {
        mishaps: &[Mishap::Restart],
        ..Setting::of(&[Part::Save, Part::Save])
    },
];

#[test]
fn commits_that_arrive_late_leave_nothing_stale() {
    for setting in LATE_COMMITS {
        nothing_goes_wrong(setting, 1_000);
    }
}

/// What the stamps remember, left out.
#[test]
fn where_stamps_are_forgotten_a_late_commit_leaves_it_stale() {
    let [dumps, by_hand, restart] = LATE_COMMITS;
    for (weakness, setting) in [
        (ServerWeakness::NeverRaises, dumps),
        (ServerWeakness::NeverRaises, restart),
        (ServerWeakness::ForgetsStamps, dumps),
        (ServerWeakness::ForgetsStamps, restart),
        (ServerWeakness::SetsAgain, by_hand),
    ] {
        let weakness = Some(weakness);
        let why = every_order(Setting {
            weakness,
            ..setting
        });
        let why = why.expect_err("nothing stale");
        assert!(why.contains("stale: "), "{weakness:?}: {why}");
    }
}

/// A request for the lock that arrives late, and then a commit under it, after a deletion whose stamp was evicted.
const LATE_LOCK: Setting = Setting {
    late: 2,
    late_locks: true,
    mishaps: &[Mishap::Eviction],
    ..Setting::of(&[Part::Save, Part::Delete])
};

#[test]
fn a_request_for_the_lock_that_arrives_late_lets_no_late_commit_in() {
    nothing_goes_wrong(LATE_LOCK, 100);
}

#[test]
fn a_request_for_the_lock_that_is_sent_twice_lets_a_late_commit_in() {
    let setting = Setting {
        weakness: Some(ServerWeakness::AllSentAgain),
        ..LATE_LOCK
    };
    let why = every_order(setting).expect_err("nothing stale");
    assert!(why.contains("stale: "), "{why}");
}
