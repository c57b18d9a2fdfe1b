//! The platform's own way: `SET NX` for the lock, `open(path, "w")`, then `SET` and `DEL`, then
//! `DEL` of the lock. An instance keeps the content that it was opened with, and a process keeps
//! its connection.

use super::{
    Instance, Process, Trace,
    support::{Climate, World, key},
};
use redis::{Cmd, FromRedisValue, RedisResult};
use std::{
    fs::{self, File},
    io::Write,
    path::PathBuf,
    sync::{Arc, Mutex},
};

const LOCK_SECONDS: u64 = 21_600;
const ENTRY_SECONDS: u64 = 259_200;

pub fn lock_key() -> String {
    key("climate") + ":lock"
}

pub fn start(world: &World, url: &str, trace: Trace) -> Box<dyn Process> {
    let client = redis::Client::open(url).expect("a client");
    let connection = client.get_connection().expect("a connection");
    Box::new(ByHand(Arc::new(Shared {
        file: world.file(),
        redis: Mutex::new(connection),
        trace,
    })))
}

struct ByHand(Arc<Shared>);

struct Shared {
    file: PathBuf,
    redis: Mutex<redis::Connection>,
    trace: Trace,
}

impl Shared {
    fn ask<T: FromRedisValue>(&self, command: &Cmd) -> RedisResult<T> {
        command.query(&mut *self.redis.lock().expect("no panic"))
    }

    fn set(&self, content: &[u8]) -> RedisResult<()> {
        let mut set = redis::cmd("SET");
        set.arg(key("climate")).arg(content);
        self.ask(set.arg("EX").arg(ENTRY_SECONDS))
    }

    fn delete(&self, key: String) -> RedisResult<()> {
        self.ask(redis::cmd("DEL").arg(key))
    }

    /// Truncates it first, as `open(path, "w")` does.
    fn write(&self, content: &[u8]) -> std::io::Result<()> {
        let mut file = File::create(&self.file)?;
        let (first, second) = content.split_at(content.len() / 2);
        file.write_all(first)?;
        (self.trace)("disk.write");
        file.write_all(second)
    }
}

impl Process for ByHand {
    fn open(&self) -> Result<Box<dyn Instance>, String> {
        let shared = &self.0;
        let cached: Option<Vec<u8>> = shared
            .ask(redis::cmd("GET").arg(key("climate")))
            .unwrap_or_default();
        let content = match cached {
            Some(content) => content,
            None => {
                (shared.trace)("disk.read");
                let content = fs::read(&shared.file).map_err(|e| e.to_string())?;
                (shared.trace)("server.Fill");
                shared.set(&content).map_err(|e| e.to_string())?;
                content
            }
        };
        let climate = serde_json::from_slice(&content).map_err(|e| e.to_string())?;
        Ok(Box::new(Opened {
            shared: shared.clone(),
            climate: Box::new(climate),
        }))
    }

    fn clear_locks(&self) {
        self.0.delete(lock_key()).expect("the server is there");
    }

    fn catch_up(&self) {}
}

struct Opened {
    shared: Arc<Shared>,
    /// Boxed, so that its address does not change.
    climate: Box<Climate>,
}

impl Instance for Opened {
    fn years(&self) -> u64 {
        self.climate.years
    }

    fn address(&self) -> usize {
        std::ptr::from_ref(&*self.climate).addr()
    }

    fn lock(&mut self) -> Result<(), String> {
        (self.shared.trace)("server.Acquire");
        let mut set = redis::cmd("SET");
        set.arg(lock_key()).arg(format!("{:p}", self.climate));
        let set = self.shared.ask(set.arg("NX").arg("EX").arg(LOCK_SECONDS));
        let set: Option<String> = set.map_err(|e| e.to_string())?;
        set.map(drop).ok_or("it is locked by another".to_owned())
    }

    fn add(&mut self, years: u64) {
        self.climate.years += years;
    }

    fn renew(&mut self) -> Result<(), String> {
        let mut set = redis::cmd("SET");
        set.arg(lock_key()).arg(format!("{:p}", self.climate));
        let set = self.shared.ask(set.arg("EX").arg(LOCK_SECONDS));
        set.map_err(|e| e.to_string())
    }

    fn dump_and_unlock(&mut self) -> Result<(), String> {
        let content = self.climate.bytes();
        self.shared.write(&content).map_err(|e| e.to_string())?;
        // The file is written; an error of the server is only logged.
        let mut done = vec![self.shared.set(&content)];
        done.extend(["wepp", "ash", "soils"].map(|it| self.shared.delete(key(it))));
        done.push(self.shared.delete(lock_key()));
        for error in done.into_iter().filter_map(Result::err) {
            eprintln!("by hand: {error}");
        }
        Ok(())
    }

    fn unlock(&mut self) {
        let _ = self.shared.delete(lock_key());
    }
}
