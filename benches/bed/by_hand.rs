//! Saves with redis-rs alone: bare ones, and with a hand-written lock.

use super::{
    scene::{Scene, connect},
    subject::Subject,
};
use cachetx::BoxError;
use redis::{Connection, Pipeline, RedisResult, Script};

const UNLOCK: &str = "if redis.call('GET', KEYS[1]) == ARGV[1] then return redis.call('UNLINK', KEYS[1]) end return 0";
/// The library's own defaults.
const LOCK_MS: u64 = 60_000;
const ENTRY_MS: u64 = 72 * 3_600 * 1_000;

/// One round trip that does nothing.
pub struct Ping(Connection);

impl Ping {
    pub fn new(url: &str) -> RedisResult<Self> {
        connect(url).map(Self)
    }
}

impl Subject for Ping {
    fn save(&mut self, step: &mut dyn FnMut()) -> Result<(), BoxError> {
        redis::cmd("PING").exec(&mut self.0)?;
        step();
        Ok(())
    }
}

/// Sets the entry and deletes the dependents in one transaction; returns how many were deleted.
fn commit(connection: &mut Connection, scene: &Scene, value: &[u8]) -> RedisResult<usize> {
    let mut pipe = Pipeline::with_capacity(2);
    pipe.atomic();
    let set = pipe.cmd("SET").arg(&scene.own).arg(value);
    set.arg("PX").arg(ENTRY_MS).ignore();
    if scene.dependents.is_empty() {
        return pipe.exec(connection).map(|()| 0);
    }
    pipe.cmd("UNLINK").arg(&scene.dependents);
    pipe.query(connection).map(|(removed,)| removed)
}

/// The minimum that changes both at once.
pub struct Bare {
    connection: Connection,
    scene: Scene,
}

impl Bare {
    pub fn new(url: &str, scene: &Scene) -> RedisResult<Self> {
        Ok(Self {
            connection: connect(url)?,
            scene: scene.clone(),
        })
    }
}

impl Subject for Bare {
    fn save(&mut self, step: &mut dyn FnMut()) -> Result<(), BoxError> {
        commit(&mut self.connection, &self.scene, &self.scene.value)?;
        step();
        Ok(())
    }
}

/// Takes three round trips.
pub struct ByHand {
    connection: Connection,
    unlock: Script,
    scene: Scene,
    lock: String,
    /// Makes tokens unique; a real program would use random ones, which cost about the same.
    saves: u128,
}

impl ByHand {
    pub fn new(url: &str, scene: &Scene) -> RedisResult<Self> {
        Ok(Self {
            connection: connect(url)?,
            unlock: Script::new(UNLOCK),
            lock: format!("{}:by-hand-lock", scene.own),
            scene: scene.clone(),
            saves: 0,
        })
    }

    /// Round trip 1.
    pub fn lock(&mut self) -> RedisResult<String> {
        self.saves += 1;
        let token = format!("{:032x}", self.saves);
        let mut set = redis::cmd("SET");
        set.arg(&self.lock).arg(&token).arg("NX");
        set.arg("PX").arg(LOCK_MS);
        let taken: Option<String> = set.query(&mut self.connection)?;
        taken.expect("nobody else locks");
        Ok(token)
    }

    /// Round trip 2; returns how many dependents were deleted.
    pub fn commit(&mut self, value: &[u8]) -> RedisResult<usize> {
        commit(&mut self.connection, &self.scene, value)
    }

    /// Round trip 3.
    pub fn unlock(&mut self, token: &str) -> RedisResult<()> {
        let mut call = self.unlock.key(&self.lock);
        let freed: u64 = call.arg(token).invoke(&mut self.connection)?;
        assert_eq!(freed, 1);
        Ok(())
    }
}

impl Subject for ByHand {
    fn save(&mut self, step: &mut dyn FnMut()) -> Result<(), BoxError> {
        let token = self.lock()?;
        step();
        let value = self.scene.value.clone();
        self.commit(&value)?;
        step();
        self.unlock(&token)?;
        step();
        Ok(())
    }
}
