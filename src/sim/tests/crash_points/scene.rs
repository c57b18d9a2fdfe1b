//! What a dead writer has left, and the visitors after it.

use crate::{
    disk::sim::SimDisk,
    op::Op,
    protocol::{Action, Guarantee, lock::Expect},
    sim::{
        actor::Hand,
        calls::{Way, derive},
        cast::{Paper, Saves, bring, entry},
        server::{Fate, ServerWeakness, SimServer},
        world::{Who, World},
    },
};
use std::time::Duration;

pub(super) const OLD: &[u64] = &[1];
pub(super) const NEW: &[u64] = &[1, 2];
/// After this time a file is no longer young, so readers may fill.
const A_WHILE: Duration = Duration::from_secs(3);

#[derive(Clone, Copy, Debug)]
pub(super) enum Writer {
    Save(Guarantee),
    Delete(Guarantee),
}

impl Writer {
    pub(super) fn guarantee(self) -> Guarantee {
        match self {
            Self::Save(guarantee) | Self::Delete(guarantee) => guarantee,
        }
    }

    fn paper(self) -> Paper {
        Paper::new("climate", &["wepp"], self.guarantee())
    }

    fn start(self, world: &mut World) -> Who {
        let paper = self.paper();
        world.start("writer", move |hand| async move {
            match self {
                Self::Save(_) => drop(paper.change(&hand, 2).await),
                Self::Delete(_) => drop(paper.delete(&hand).await),
            }
        })
    }
}

/// Whether the dependent is cached, or being loaded while the writer is at work.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Dependent {
    Cached,
    /// Its loader has read the old document, and is about to fill.
    BeingLoaded,
}

/// The state after the writer's death.
pub(super) struct Scene {
    pub(super) world: World,
    pub(super) paper: Paper,
    loader: Option<Who>,
    /// The action before which the writer died.
    pub(super) before: Option<String>,
}

impl Scene {
    fn new(writer: Writer, dependent: Dependent, weakness: Option<ServerWeakness>) -> (Self, Who) {
        let paper = writer.paper();
        let mut world = World::new(SimDisk::new(), SimServer::new(weakness));
        let made = paper.clone();
        let created = world.do_now("creator", |hand| async move { made.create(&hand, 1).await });
        created.expect("created");
        world.advance(A_WHILE);
        let derived = |hand: Hand| {
            let from = [paper.clone()];
            async move { drop(derive(&hand, &entry("wepp"), &from).await) }
        };
        let loader = match dependent {
            Dependent::Cached => {
                world.do_now("loader", derived);
                None
            }
            Dependent::BeingLoaded => {
                let loader = world.start("loader", derived);
                while !matches!(world.next(loader), Some(Action::Server(Op::Fill(_)))) {
                    world.turn(loader, Fate::Answered);
                }
                Some(loader)
            }
        };
        let who = writer.start(&mut world);
        let scene = Self {
            world,
            paper,
            loader,
            before: None,
        };
        (scene, who)
    }

    /// The writer takes this many actions and dies; `None` if it has fewer.
    pub(super) fn after(
        writer: Writer,
        dependent: Dependent,
        actions: usize,
        weakness: Option<ServerWeakness>,
    ) -> Option<Self> {
        let (mut scene, who) = Self::new(writer, dependent, weakness);
        for _ in 0..actions {
            scene.world.next(who)?;
            scene.world.turn(who, Fate::Answered);
        }
        scene.before = scene.world.next(who).map(Action::name);
        scene.world.crash(who);
        if let Some(loader) = scene.loader {
            while scene.world.next(loader).is_some() {
                scene.world.turn(loader, Fate::Answered);
            }
        }
        Some(scene)
    }

    /// Returns no saves if the document is gone.
    pub(super) fn read(&mut self) -> Result<Saves, String> {
        let paper = self.paper.clone();
        let read = |hand| async move { paper.read(&hand).await };
        match self.world.do_now("reader", read) {
            Err(e) if e.is_not_found() => Ok(Saves::new()),
            got => got.map_err(|e| e.to_string()),
        }
    }

    /// What a reader of the dependent gets, compared with the document.
    pub(super) fn derive(&mut self) -> Result<String, String> {
        let now = self.read()?;
        let from = [self.paper.clone()];
        let derived = |hand| async move { derive(&hand, &entry("wepp"), &from).await };
        let (got, way) = match self.world.do_now("reader", derived) {
            Err(e) if e.is_not_found() => (Saves::new(), Way::Loaded),
            got => got.map_err(|e| e.to_string())?,
        };
        Ok(match (got == now, way) {
            (true, Way::Found) => "right, cached".to_owned(),
            (true, Way::Filled) => "right, loaded and filled".to_owned(),
            (true, Way::Loaded) => "right, loaded".to_owned(),
            (false, _) => STALE.to_owned(),
        })
    }

    pub(super) fn replay(&mut self) -> Result<(), String> {
        let done = self
            .world
            .do_now("replayer", |hand| async move { bring(&hand).await });
        let done = done.map_err(|e| e.to_string())?;
        match done.left {
            0 => Ok(()),
            left => Err(format!("{left} records are left")),
        }
    }

    /// Whether the next writer is refused.
    pub(super) fn is_locked(&mut self) -> Result<bool, String> {
        let (paper, now) = (self.paper.clone(), self.read()?);
        let expect = match now.is_empty() {
            true => Expect::Nothing,
            false => Expect::Document,
        };
        let tried = self.world.do_now("next writer", |hand| async move {
            let held = paper.lock(&hand, expect, Duration::ZERO).await?;
            paper.save(&hand, held, 3).await
        });
        match tried {
            Ok(_) => Ok(false),
            Err(e) if e.is_lock_held() => Ok(true),
            Err(e) => Err(format!("the next writer: {e}")),
        }
    }
}

pub(super) const STALE: &str = "**stale**";
