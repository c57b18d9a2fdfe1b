//! What a crash-safe save costs: the whole save, on disk, with and without.

use crate::{
    by_hand::{RESPONSE_TIMEOUT, connect},
    pairs::{Pairs, Summary},
    scene::{CONTROLLER, Content, Names, RUN, TASK, rules},
};
use cachetx::{BoxError, Cache, Document, Guarantee, Save, Store, testing::Server};
use std::path::Path;

struct Scene {
    names: Names,
    plain: redis::Connection,
    cache: Cache,
    document: Document<Content>,
}

impl Scene {
    fn new(
        server: &Server,
        root: &Path,
        bytes: usize,
        dependents: usize,
    ) -> Result<Self, BoxError> {
        let rules = rules(dependents)?;
        let names = Names::new(&rules)?;
        let cache = Cache::builder(rules)
            .url(server.unix_url())
            .response_timeout(RESPONSE_TIMEOUT)
            .open()?;
        let store = Store::builder(&cache).root(root).open()?;
        let document = store.document(RUN, CONTROLLER)?;
        document.create(&Content::of(bytes))?;
        Ok(Self {
            names,
            plain: connect(&server.unix_url())?,
            cache,
            document,
        })
    }

    fn warm(&mut self) {
        self.names.warm(&mut self.plain).expect("MSET");
    }

    fn save(&mut self, guarantee: Guarantee) {
        let save = Save::new().tasks([TASK]).guarantee(guarantee);
        let saved = self.document.locked_with(save, |content| {
            content.saves += 1;
            Ok(())
        });
        let (_, outcome) = saved.expect("saved");
        assert!(outcome.cache.is_settled(), "{outcome:?}");
    }
}

/// Of a save of each, the lock's included.
pub fn round_trips(server: &Server) -> Result<(u64, u64), BoxError> {
    let folder = tempfile::tempdir()?;
    let mut scene = Scene::new(server, folder.path(), 0, 4)?;
    let mut count = |guarantee| {
        let before = scene.cache.stats().round_trips;
        scene.save(guarantee);
        scene.cache.stats().round_trips - before
    };
    Ok((count(Guarantee::CrashSafe), count(Guarantee::BestEffort)))
}

/// Times both on one document below `root`.
pub fn measure(
    server: &Server,
    root: &Path,
    bytes: usize,
    dependents: usize,
    rounds: usize,
) -> Result<Summary, BoxError> {
    let folder = tempfile::tempdir_in(root)?;
    let mut scene = Scene::new(server, folder.path(), bytes, dependents)?;
    let safe = |scene: &mut Scene| scene.save(Guarantee::CrashSafe);
    let effort = |scene: &mut Scene| scene.save(Guarantee::BestEffort);
    Ok(Pairs::measure(rounds, &mut scene, Scene::warm, safe, effort).summary())
}
