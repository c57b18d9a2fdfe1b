//! The power fails before each file action of a save, a creation and a deletion, and leaves each
//! possible disk. Then readers and the next writer come. The server is another machine and has kept
//! everything, or has lost it.

use crate::{
    disk::sim::{SimDisk, Weakness},
    engine::MemoryServer,
    model::{Result, Stamp},
    protocol::{Durability, Guarantee},
    sim::{
        actor::Hand,
        calls::derive,
        cast::{LOCK_TTL, Paper, Saves, bring, entry},
        choices::every,
        server::{Fate, SimServer},
        world::World,
    },
};
use std::{
    cell::Cell,
    collections::{BTreeMap, HashMap, HashSet},
    rc::Rc,
    time::Duration,
};

/// The time between the preparation, the power loss, and what follows: files are no longer young,
/// so readers fill.
const A_WHILE: Duration = Duration::from_secs(3);
/// How long the power is away. Files may have times that are ahead of the clock by some steps of a
/// coarse file system. Only because this time is longer does a save that was seen and lost not come
/// back under the same stamp. A deleted document's stamp never comes back, whatever this time is.
const DARKNESS: Duration = Duration::from_secs(10);
const AHEAD: Duration = Duration::from_secs(3_600);
/// The maximum number of outcomes of one power loss.
const MOST: u64 = 20_000;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Change {
    Create,
    Save,
    Delete,
    /// A document is created where one was deleted.
    Recreate,
}

/// The parameters of a test.
#[derive(Clone, Copy, Debug)]
struct Setting {
    change: Change,
    guarantee: Guarantee,
    /// The time resolution of the file system.
    time_step_ns: i64,
    /// How far the document's time is ahead of the clock, although no save of the library has made
    /// it.
    ahead: Duration,
    weakness: Option<Weakness>,
}

impl Setting {
    fn of(change: Change) -> Self {
        Self {
            change,
            guarantee: Guarantee::BestEffort,
            time_step_ns: 1,
            ahead: Duration::ZERO,
            weakness: None,
        }
    }
}

/// One power loss.
struct Scene {
    setting: Setting,
    world: World,
    paper: Paper,
    /// Each content that was visible to others, with its stamp.
    seen: Vec<(Stamp, Vec<u8>)>,
    /// Whether the writer was told that the change is durable.
    told: Rc<Cell<bool>>,
}

impl Scene {
    /// The document's state before the writer comes.
    fn before(setting: Setting) -> Self {
        let disk = SimDisk::new().with_time_step(setting.time_step_ns);
        let mut scene = Self {
            setting,
            world: World::new(disk, SimServer::new(None)),
            paper: Paper::new("climate", &["wepp"], setting.guarantee),
            seen: Vec::new(),
            told: Rc::default(),
        };
        if setting.change != Change::Create {
            scene.do_now(Change::Create, 1).unwrap();
        }
        if setting.change == Change::Recreate {
            scene.do_now(Change::Delete, 0).unwrap();
        }
        if !setting.ahead.is_zero() {
            let place = &scene.paper.place;
            scene.world.disk.lose_sidecar(&place.folder, &place.file);
            scene.world.set_back = setting.ahead;
        }
        scene.world.advance(A_WHILE);
        if setting.change == Change::Save {
            scene.derive().unwrap();
        }
        scene.world.disk.weaken(setting.weakness);
        scene
    }

    /// The writer takes this many actions. Returns whether it has more.
    fn write(&mut self, actions: usize) -> bool {
        let (paper, told, change) = (self.paper.clone(), self.told.clone(), self.setting.change);
        let writer = self.world.start("writer", move |hand| async move {
            if let Ok(durability) = act(&paper, &hand, change, 2).await {
                told.set(durability == Durability::Synced);
            }
        });
        for _ in 0..actions {
            if self.world.next(writer).is_none() {
                return false;
            }
            self.world.turn(writer, Fate::Answered);
            self.look();
        }
        true
    }

    /// The same scene with the power back: all processes are dead.
    fn after(&self, disk: SimDisk, memory: MemoryServer) -> Self {
        let mut scene = Self {
            setting: self.setting,
            world: self.world.after_power_loss(disk, SimServer::with(memory)),
            paper: self.paper.clone(),
            seen: self.seen.clone(),
            told: self.told.clone(),
        };
        scene.world.advance(DARKNESS);
        scene
    }

    /// Records what is visible.
    fn look(&mut self) {
        let place = &self.paper.place;
        let now = self.world.disk.document(&place.folder, &place.file);
        self.seen.extend(now.filter(|now| !self.seen.contains(now)));
    }

    fn do_now(&mut self, change: Change, number: u64) -> Result<Durability, String> {
        let paper = self.paper.clone();
        let done = self.world.do_now("writer", move |hand| async move {
            act(&paper, &hand, change, number).await
        });
        self.look();
        done.map_err(|e| format!("{change:?}: {e}"))
    }

    /// `None` if there is no document.
    fn read(&mut self) -> Result<Option<Saves>, String> {
        let paper = self.paper.clone();
        match self
            .world
            .do_now("reader", |hand| async move { paper.read(&hand).await })
        {
            Ok(saves) => Ok(Some(saves)),
            Err(e) if e.is_not_found() => Ok(None),
            Err(e) => Err(format!("a reader: {e}")),
        }
    }

    fn derive(&mut self) -> Result<Saves, String> {
        let from = [self.paper.clone()];
        let derived = |hand| async move { derive(&hand, &entry("wepp"), &from).await };
        match self.world.do_now("reader", derived) {
            Ok((saves, _)) => Ok(saves),
            Err(e) => Err(format!("a reader of the dependent: {e}")),
        }
    }

    /// Checks what must hold once the power is back.
    fn check(&mut self) -> Result<(), String> {
        let (old, new) = match self.setting.change {
            Change::Create => (None, Some(vec![2])),
            Change::Recreate => (None, Some(vec![2])),
            Change::Save => (Some(vec![1]), Some(vec![1, 2])),
            Change::Delete => (Some(vec![1]), None),
        };
        let found = self.read()?;
        self.look();
        if found != new && (self.told.get() || found != old) {
            let told = if self.told.get() {
                "acknowledged"
            } else {
                "cut"
            };
            return Err(format!(
                "the change was {told}, and the document is {found:?}"
            ));
        }
        if self.setting.guarantee == Guarantee::CrashSafe && found.is_some() {
            self.world
                .do_now("replayer", |hand| async move { bring(&hand).await })
                .map_err(|e| e.to_string())?;
            let derived = self.derive()?;
            if Some(&derived) != found.as_ref() {
                return Err(format!("a dependent of {found:?} is {derived:?}"));
            }
        }
        self.world.advance(LOCK_TTL);
        if self.read()? != found {
            return Err("the document has changed by itself".to_owned());
        }
        let next = if found.is_some() {
            Change::Save
        } else {
            Change::Create
        };
        self.do_now(next, 3)?;
        let mut all = found.unwrap_or_default();
        all.push(3);
        match self.read()? {
            Some(saves) if saves == all => {}
            other => return Err(format!("the next save of {all:?} gave {other:?}")),
        }
        self.no_stamp_came_back()?;
        let names = self.world.disk.names(&self.paper.place.folder);
        match names.iter().any(|name| name.ends_with(".tmp")) {
            true => Err(format!("the next save has left {names:?}")),
            false => Ok(()),
        }
    }

    fn no_stamp_came_back(&self) -> Result<(), String> {
        let mut known = HashMap::new();
        for (stamp, bytes) in &self.seen {
            if known
                .insert(stamp, bytes)
                .is_some_and(|other| other != bytes)
            {
                return Err(format!("the stamp {stamp} has come back"));
            }
        }
        // In the order in which they were first seen. If the clock goes on, it keeps them apart,
        // whatever is lost.
        let sorted = self.seen.is_sorted_by_key(|(stamp, _)| stamp.mtime_ns);
        match sorted || self.setting.ahead.is_zero() {
            true => Ok(()),
            false => Err(format!("a later stamp is lower: {:?}", self.seen)),
        }
    }
}

async fn act(paper: &Paper, hand: &Hand, change: Change, number: u64) -> Result<Durability> {
    Ok(match change {
        Change::Create | Change::Recreate => paper.create(hand, number).await?.outcome,
        Change::Save => paper.change(hand, number).await?.outcome,
        Change::Delete => paper.delete(hand).await?,
    }
    .durability)
}

/// Every power loss in one change. Returns how many different disks they leave.
fn lose_power(setting: Setting) -> Result<usize, String> {
    let (mut losses, mut actions, mut more) = (0, 0, true);
    let mut known = HashSet::new();
    while more {
        let mut scene = Scene::before(setting);
        more = scene.write(actions);
        let mut disks = BTreeMap::new();
        every(MOST, |choices| {
            let disk = &scene.world.disk;
            let left = disk.after_power_loss(&mut |n| choices.choose(n));
            let content = left.content();
            // An earlier cut may have left this disk already, with the same server and the same
            // record.
            let beside = (scene.world.requests(), scene.seen.len(), scene.told.get());
            if known.insert((content.clone(), beside)) {
                disks.insert(content, left);
            }
            Ok(())
        })?;
        losses += disks.len();
        for (content, disk) in disks {
            // The server is another machine, or the same one without a snapshot.
            let (kept, lost) = (
                scene.world.server.memory.copy(),
                MemoryServer::with_manual_clock(),
            );
            for memory in [kept, lost] {
                let mut after = scene.after(disk.clone(), memory);
                after.check().map_err(|why| {
                    let story = [scene.world.story(), after.world.story()].join("\n  -- \n  ");
                    format!("{setting:?}, {actions} actions, then {content:?}: {why}\n  {story}")
                })?;
            }
        }
        actions += 1;
    }
    Ok(losses)
}

const CHANGES: [Change; 4] = [
    Change::Create,
    Change::Save,
    Change::Delete,
    Change::Recreate,
];

#[test]
fn whatever_a_power_loss_leaves_the_document_is_old_or_new_and_an_acknowledged_change_is_there() {
    let plain = CHANGES.map(Setting::of);
    let safe = plain.map(|setting| Setting {
        guarantee: Guarantee::CrashSafe,
        ..setting
    });
    let coarse = [Change::Save, Change::Recreate].map(|change| Setting {
        time_step_ns: 2_000_000_000,
        ..Setting::of(change)
    });
    let ahead = Setting {
        ahead: AHEAD,
        ..Setting::of(Change::Delete)
    };
    let all = plain.into_iter().chain(safe).chain(coarse);
    for setting in all.chain([ahead]) {
        let losses = lose_power(setting).unwrap_or_else(|why| panic!("{why}"));
        println!("{losses} disks: {setting:?}");
        assert!(losses > 10, "{setting:?}: {losses}");
    }
}

#[test]
fn a_disk_that_syncs_less_or_a_save_that_syncs_late_is_found_out() {
    for (change, weakness, says) in [
        (Change::Save, Weakness::NoFileSync, "a reader: "),
        (Change::Save, Weakness::FileSyncAfterRename, "a reader: "),
        (
            Change::Save,
            Weakness::NoFolderSync,
            "acknowledged, and the document is Some([1])",
        ),
        (
            Change::Create,
            Weakness::NoFolderSync,
            "acknowledged, and the document is None",
        ),
        (
            Change::Create,
            Weakness::NoRootSync,
            "acknowledged, and the document is None",
        ),
        (
            Change::Delete,
            Weakness::NoFolderSync,
            "acknowledged, and the document is Some([1])",
        ),
        (
            Change::Delete,
            Weakness::NoSidecarSync,
            "a later stamp is lower",
        ),
        (Change::Save, Weakness::NoSweep, "the next save has left"),
        (Change::Save, Weakness::DeafToTimes, "has come back"),
    ] {
        let setting = Setting {
            weakness: Some(weakness),
            ahead: match weakness {
                Weakness::NoSidecarSync => AHEAD,
                _ => Duration::ZERO,
            },
            ..Setting::of(change)
        };
        let why = lose_power(setting).expect_err("a weakness that nothing shows");
        assert!(why.contains(says), "{setting:?}: {why}");
    }
}
