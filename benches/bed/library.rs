//! The library's own saves, without their files.

use super::{
    scene::{RESPONSE_TIMEOUT, Scene, TASK, params},
    subject::Subject,
};
use cachetx::{BoxError, Cache, testing::FilelessDocument};
use std::sync::Arc;

pub struct Library {
    document: FilelessDocument,
    value: Arc<[u8]>,
}

impl Library {
    pub fn new(url: &str, scene: &Scene) -> Result<Self, BoxError> {
        Self::on(&cache(url, scene)?, scene)
    }

    /// A document of a shared cache.
    pub fn on(cache: &Cache, scene: &Scene) -> Result<Self, BoxError> {
        Ok(Self {
            document: FilelessDocument::new(cache, &scene.controller, &[TASK], params())?,
            value: Arc::clone(&scene.value),
        })
    }
}

/// `update()`, of a store with locks or without.
pub struct Update {
    document: FilelessDocument,
    value: Arc<[u8]>,
    has_locks: bool,
}

impl Update {
    /// Its entry is on the server, as after a save.
    pub fn new(url: &str, scene: &Scene, has_locks: bool) -> Result<Self, BoxError> {
        let cache = cache(url, scene)?;
        let updated = &scene.updated[usize::from(has_locks)];
        let mut document = FilelessDocument::new(&cache, updated, &[TASK], params())?;
        document.save(Arc::clone(&scene.value))?;
        Ok(Self {
            document,
            value: Arc::clone(&scene.value),
            has_locks,
        })
    }
}

impl Subject for Update {
    fn save(&mut self, step: &mut dyn FnMut()) -> Result<(), BoxError> {
        self.document
            .update(Arc::clone(&self.value), self.has_locks)?;
        step();
        Ok(())
    }
}

/// A cache with the defaults, except its time-out.
pub fn cache(url: &str, scene: &Scene) -> Result<Cache, BoxError> {
    let builder = Cache::builder(scene.rules.clone()).url(url);
    Ok(builder.response_timeout(RESPONSE_TIMEOUT).open()?)
}

impl Subject for Library {
    fn save(&mut self, step: &mut dyn FnMut()) -> Result<(), BoxError> {
        self.document.save(Arc::clone(&self.value))?;
        step();
        Ok(())
    }
}
