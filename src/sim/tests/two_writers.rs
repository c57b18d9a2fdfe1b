//! Two crash-safe writers of two documents, one common dependent, and a reader that loads it; one
//! of the writers may die. Tries every order of the actions that others can see.

use crate::{
    disk::{FileAction, sim::SimDisk},
    op::Op,
    protocol::{Action, Guarantee, Held, lock::Expect},
    sim::{
        calls::derive,
        cast::{Paper, bring, entry, leases},
        choices::{Choices, every},
        server::{ServerWeakness, SimServer},
        turns::Chance,
        world::{Who, World},
    },
};
use std::time::Duration;

/// Longer than a mark's life.
const MARKS_ARE_OVER: Duration = Duration::from_secs(31);
const A_WHILE: Duration = Duration::from_secs(3);
/// The maximum number of orders in one test.
const MOST: u64 = 10_000_000;

/// What happens to the first writer's mark.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mishap {
    Lapse,
    Eviction,
    Restart,
}

/// Before which actions others may have a turn. Nobody else here can see the remaining actions:
/// each document has one writer, which has its lock; and a file is read at one point and renamed by
/// its writer at another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Grain {
    Fine,
    /// The reader leases and reads both documents in one turn, and the second writer renames and
    /// commits in one turn.
    Coarse,
}

#[derive(Clone, Copy, Debug)]
struct Setting {
    guarantee: Guarantee,
    grain: Grain,
    /// One of them may happen between the first writer's marks and its rename.
    mishaps: &'static [Mishap],
    /// Whether a replayer takes the dead writer's outbox over.
    replay: bool,
    weakness: Option<ServerWeakness>,
}

impl Setting {
    /// Nothing happens to the marks, and there is no replay.
    const PLAIN: Self = Self {
        guarantee: Guarantee::CrashSafe,
        grain: Grain::Fine,
        mishaps: &[],
        replay: false,
        weakness: None,
    };
    const MISHAPS: Self = Self {
        grain: Grain::Coarse,
        mishaps: &[Mishap::Lapse, Mishap::Eviction, Mishap::Restart],
        replay: true,
        ..Self::PLAIN
    };

    fn is_point(&self, who: usize, action: &Action) -> bool {
        let fine = self.grain == Grain::Fine;
        match action {
            Action::Server(Op::Prepare(_) | Op::Invalidate(_) | Op::Fill(_)) => true,
            Action::Server(Op::Commit(_)) => fine || who != SECOND,
            Action::Server(Op::Lease(lease)) => lease.entry == entry("totals"),
            Action::Disk(_, FileAction::Rename { .. }) => true,
            Action::Disk(_, FileAction::Stat) => fine && who == READER,
            _ => false,
        }
    }
}

const FIRST: usize = 0;
const SECOND: usize = 1;
const READER: usize = 2;

/// The events that may still happen.
struct Fortune {
    setting: Setting,
    /// By their parts.
    cast: [Who; 3],
    may_die: bool,
    may_suffer: bool,
}

/// The state before the play: both documents exist, and their writers have their locks.
struct Stage {
    world: World,
    papers: [Paper; 2],
    held: [Held; 2],
}

impl Stage {
    fn new(setting: Setting) -> Self {
        let papers =
            ["soils", "climate"].map(|name| Paper::new(name, &["totals"], setting.guarantee));
        let mut world = World::new(SimDisk::new(), SimServer::new(setting.weakness));
        for paper in papers.clone() {
            let create = |hand| async move { paper.create(&hand, 1).await };
            world.do_now("creator", create).expect("created");
        }
        world.advance(A_WHILE);
        let held = papers.clone().map(|paper| {
            let lock = |hand| async move {
                let wait = Duration::ZERO;
                paper.lock(&hand, Expect::Document, wait).await
            };
            world.do_now("writer", lock).expect("locked")
        });
        Self {
            world,
            papers,
            held,
        }
    }

    fn play(&self, setting: Setting, choices: &mut Choices) -> Result<(), String> {
        let mut world = self.world.copy();
        let mut writer = |name: &str, part: usize| {
            let (paper, held) = (self.papers[part].clone(), self.held[part].clone());
            world.start(name, |hand| async move {
                drop(paper.save(&hand, held, 2).await)
            })
        };
        let (first, second) = (writer("first", FIRST), writer("second", SECOND));
        let from = self.papers.clone();
        let reader = world.start("reader", |hand| async move {
            drop(derive(&hand, &entry("totals"), &from).await);
        });
        let mut fortune = Fortune {
            setting,
            cast: [first, second, reader],
            may_die: true,
            may_suffer: !setting.mishaps.is_empty(),
        };
        world.play(choices, &mut fortune)?;
        self.check(&mut world)
            .map_err(|why| format!("{why}\n  {}", world.story()))
    }

    /// A reader of the dependent must now get what the two files have.
    fn check(&self, world: &mut World) -> Result<(), String> {
        let (from, entry) = (self.papers.clone(), entry("totals"));
        let (got, files) = world.do_now("last reader", |hand| async move {
            let (got, _) = derive(&hand, &entry, &from).await.expect("derived");
            let mut files = Vec::new();
            for paper in &from {
                files.extend(paper.read(&hand).await.expect("read"));
            }
            (got, files)
        });
        if got != files {
            return Err(format!("stale: {got:?} instead of {files:?}"));
        }
        Ok(())
    }
}

impl Fortune {
    fn mishaps(&self, world: &World) -> &'static [Mishap] {
        match self.may_suffer && self.is_marked(world) {
            true => self.setting.mishaps,
            false => &[],
        }
    }

    fn may_die(&self, world: &World) -> bool {
        self.may_die && world.ready().contains(&self.cast[FIRST])
    }

    /// Whether the first writer has marked, but not renamed yet.
    fn is_marked(&self, world: &World) -> bool {
        let next = world.next(self.cast[FIRST]);
        matches!(next, Some(Action::Disk(_, FileAction::Rename { .. })))
    }

    fn die(&mut self, world: &mut World) {
        self.may_die = false;
        world.crash(self.cast[FIRST]);
        if self.setting.replay {
            world.start("replayer", |hand| async move { drop(bring(&hand).await) });
        }
    }
}

impl Chance for Fortune {
    fn is_point(&self, who: Who, action: &Action) -> bool {
        let part = self.cast.iter().position(|other| *other == who);
        self.setting.is_point(part.unwrap_or(usize::MAX), action)
    }

    fn events(&self, world: &World) -> usize {
        usize::from(self.may_die(world)) + self.mishaps(world).len()
    }

    fn happens(&mut self, world: &mut World, number: usize) {
        let may_die = self.may_die(world);
        if may_die && number == 0 {
            return self.die(world);
        }
        let mishap = self.mishaps(world)[number - usize::from(may_die)];
        self.may_suffer = false;
        world.befalls(format!("{mishap:?}"));
        match mishap {
            Mishap::Lapse => world.advance(MARKS_ARE_OVER),
            Mishap::Eviction => world.server.evict(&leases()),
            Mishap::Restart => world.server.memory.restart_from(&Default::default()),
        }
    }
}

fn every_order(setting: Setting) -> Result<u64, String> {
    let stage = Stage::new(setting);
    every(MOST, |choices| stage.play(setting, choices))
}

#[test]
fn two_writers_of_one_dependent_leave_nothing_stale_when_one_dies() {
    let orders = every_order(Setting::PLAIN).unwrap_or_else(|why| panic!("{why}"));
    println!("{orders} orders");
    assert!(orders > 5_000, "{orders}");
}

#[test]
fn with_the_mark_lapsed_evicted_or_lost_nothing_is_stale_once_the_intent_is_replayed() {
    let grain = match std::env::var_os("CACHETX_SOAK") {
        Some(_) => Grain::Fine,
        None => Grain::Coarse,
    };
    let setting = Setting {
        grain,
        ..Setting::MISHAPS
    };
    let orders = every_order(setting).unwrap_or_else(|why| panic!("{why}"));
    println!("{orders} orders");
    assert!(orders > 5_000, "{orders}");
}

#[test]
fn without_marks_leases_or_the_replay_some_order_leaves_it_stale() {
    for setting in [
        Setting {
            guarantee: Guarantee::BestEffort,
            ..Setting::PLAIN
        },
        Setting {
            weakness: Some(ServerWeakness::ForgetsMarks),
            ..Setting::PLAIN
        },
        Setting {
            weakness: Some(ServerWeakness::FillsWithoutLease),
            ..Setting::PLAIN
        },
        Setting {
            replay: false,
            ..Setting::MISHAPS
        },
    ] {
        let why = every_order(setting).expect_err("nothing stale");
        assert!(why.contains("stale: "), "{setting:?}: {why}");
    }
}
