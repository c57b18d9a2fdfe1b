//! Saves without files, for the benchmarks: the cost of a save on the server and in the library.

use crate::{
    cache::Cache,
    disk::{FileAction, Folder, Got, Identity, OutboxAction, OutboxGot, Sidecar},
    drive::{self, Backend, Local},
    model::{Bytes, Entry, Error, Place, Result, Stamp, error::Kind, limits, token},
    op::{Fault, Op, Reply, keys},
    protocol::{
        CacheOutcome, Claim, Expires, Guarantee, Run,
        lock::{self, Expect, WhileAway},
        read,
        save::{self, Plan, Right, Writer},
    },
    rules::Params,
};
#[cfg(feature = "tokio")]
use crate::{
    engine::Net,
    op::{Commit, CommitReply, Own},
};
use std::{thread, time::Duration};

/// One document whose file is in memory. It runs a store's protocols on the real server, and
/// answers their file actions without a system call. Not part of the stable API.
#[doc(hidden)]
#[derive(Debug)]
pub struct FilelessDocument {
    cache: Cache,
    controller: String,
    tasks: Vec<String>,
    params: Params,
    own: Entry,
    ttl: Duration,
    disk: Memory,
    /// Of the last [`commit_in_task`](Self::commit_in_task).
    #[cfg(feature = "tokio")]
    committed: Option<Stamp>,
}

impl FilelessDocument {
    /// A document and the tasks of its saves. Its key needs a hash tag.
    ///
    /// # Errors
    ///
    /// The controller is unknown, or a param is missing.
    pub fn new(cache: &Cache, controller: &str, tasks: &[&str], params: Params) -> Result<Self> {
        let value = cache.rules().key(controller, &params)?;
        Ok(Self {
            cache: cache.clone(),
            controller: controller.to_owned(),
            tasks: tasks.iter().map(|&task| task.to_owned()).collect(),
            own: Entry {
                leases: keys::leases(&value, None).into(),
                value: value.into(),
            },
            ttl: cache.rules().ttl(controller)?,
            params,
            disk: Memory::default(),
            #[cfg(feature = "tokio")]
            committed: None,
        })
    }

    /// Locks the document and saves `bytes`, as `lock()` and `dump_and_unlock_with_transaction` do.
    /// Returns the number of deleted dependents.
    ///
    /// # Errors
    ///
    /// The lock is held, or the outcome is not `Committed`.
    pub fn save(&mut self, bytes: Bytes) -> Result<u64> {
        let lock_key = self.lock_key();
        let held = self.drive(lock::take(Claim {
            document: self.controller.clone(),
            place: place(),
            fence_key: keys::sibling(&lock_key, "fence"),
            lock_key,
            ttl: limits::DEFAULT_LOCK_TTL,
            token: token::hex_128()?,
            owner: format!("host:{}", std::process::id()),
            seed: 0,
            behind: false,
            wait: Duration::ZERO,
            expect: Expect::Document,
            while_away: WhileAway::Fail,
            patience: self.cache.response_timeout(),
        }))?;
        self.commit(
            bytes,
            Writer {
                right: Right::Lock {
                    lock: held.lock,
                    fence: held.fence,
                    expires: Expires::at(held.expires),
                },
                read: held.read.map(|found| found.known()),
                last_mtime_ns: held.last_mtime_ns,
            },
        )
    }

    /// Saves `bytes` as `update()` does, of a store with locks or without. Returns the number of
    /// deleted dependents.
    ///
    /// # Errors
    ///
    /// The lock is held, or the outcome is not `Committed`, as for the first update: the entry does
    /// not exist yet.
    pub fn update(&mut self, bytes: Bytes, has_locks: bool) -> Result<u64> {
        let found = self.drive(read::to_change(self.controller.clone(), place()))?;
        let writer = Writer {
            right: Right::Update {
                lock_key: has_locks.then(|| self.lock_key()),
            },
            last_mtime_ns: found.stamp().mtime_ns,
            read: Some(found.known()),
        };
        self.commit(bytes, writer)
    }

    /// Only the server's step of such an update, in the caller's task, of a store without locks.
    /// Returns the number of deleted dependents.
    ///
    /// # Errors
    ///
    /// The outcome is not `Committed`.
    #[cfg(feature = "tokio")]
    pub async fn commit_in_task(&mut self, bytes: Bytes) -> Result<u64> {
        let rules = self.cache.rules();
        let dependents = rules.expand_for(&self.controller, &self.tasks, &self.params)?;
        let over = self.committed;
        let stamp = Stamp {
            mtime_ns: over.map_or(drive::now().wall_ns, |last| last.mtime_ns + 1),
            size: bytes.len() as u64,
            inode: 1,
        };
        let commit = Commit {
            id: token::hex_128()?,
            locks: Vec::new(),
            own: vec![Own {
                entry: self.own.clone(),
                bytes,
                stamp,
                ttl_ms: u64::try_from(self.ttl.as_millis()).unwrap_or(u64::MAX),
                over,
            }],
            dependents: self.cache.entries(&dependents),
            release: false,
            token: String::new(),
            wait: None,
        };
        self.committed = Some(stamp);
        match self.cache.ask_by(Net::Tasks, commit).await {
            Ok(CommitReply::Committed { removed }) => Ok(removed),
            other => Err(Error::new(Kind::Internal(format!(
                "not committed: {other:?}"
            )))),
        }
    }

    fn lock_key(&self) -> String {
        keys::sibling(&self.own.value, "lock")
    }

    fn commit(&mut self, bytes: Bytes, writer: Writer) -> Result<u64> {
        let rules = self.cache.rules();
        let dependents = rules.expand_for(&self.controller, &self.tasks, &self.params)?;
        let plan = Plan {
            document: self.controller.clone(),
            place: place(),
            id: token::hex_128()?,
            bytes,
            own: self.own.clone(),
            ttl_ms: u64::try_from(self.ttl.as_millis()).unwrap_or(u64::MAX),
            dependents: self
                .cache
                .split(&self.own, self.cache.entries(&dependents))?,
            params: self.params.clone(),
            wait: None,
            release: writer.lock().is_some(),
            writer,
            guarantee: Guarantee::BestEffort,
            mark_ttl: limits::DEFAULT_MARK_TTL,
            patience: self.cache.response_timeout(),
        };
        let saved = self.drive(save::save(plan))?;
        match saved.outcome.cache {
            CacheOutcome::Committed { removed } => Ok(removed),
            other => Err(Error::new(Kind::Internal(format!(
                "not committed: {other:?}"
            )))),
        }
    }

    fn drive<D>(&mut self, run: Run<D>) -> Result<D> {
        let backend = Fileless {
            cache: &self.cache,
            disk: &mut self.disk,
        };
        drive::drive(run, backend)
    }
}

/// A store's runs, except for files.
struct Fileless<'a> {
    cache: &'a Cache,
    disk: &'a mut Memory,
}

impl Local for Fileless<'_> {
    fn outbox(&mut self, action: &OutboxAction) -> Result<OutboxGot> {
        self.cache.keep(action)
    }

    fn disk(&mut self, _place: &Place, action: &FileAction) -> Result<Got> {
        Ok(self.disk.perform(action))
    }
}

impl Backend for Fileless<'_> {
    fn server(&mut self, op: Op) -> Result<Reply, Fault> {
        self.cache.perform(op)
    }

    /// Nobody else wants the lock.
    fn listen(&mut self, _channel: String, pause: Duration) -> Result<bool> {
        thread::sleep(pause);
        Ok(false)
    }
}

fn place() -> Place {
    Place {
        folder: "run".into(),
        file: "document".into(),
    }
}

/// A folder with one document, which nobody else writes.
#[derive(Debug)]
struct Memory {
    document: (Stamp, Bytes),
    temp: (Stamp, Bytes),
    sidecar: Sidecar,
}

impl Default for Memory {
    fn default() -> Self {
        let stamp = Stamp {
            mtime_ns: 1,
            size: 2,
            inode: 1,
        };
        // Complete JSON: an incomplete file would be read again.
        let empty = (stamp, Bytes::from(&b"{}"[..]));
        Self {
            document: empty.clone(),
            temp: empty,
            sidecar: Sidecar::default(),
        }
    }
}

impl Memory {
    /// The change time is long past: nobody else writes the file.
    fn identity(&self) -> Identity {
        Identity::local(self.document.0, 0)
    }

    fn perform(&mut self, action: &FileAction) -> Got {
        match action {
            FileAction::LookAtFolder => return Got::Folder(Folder::Writable),
            FileAction::Stat => return Got::Identity(Some(self.identity())),
            FileAction::Read => return Got::File(self.identity(), self.document.1.clone()),
            FileAction::PeekSidecar | FileAction::LockSidecar => return Got::Sidecar(self.sidecar),
            FileAction::StampTemp { mtime_ns } => {
                self.temp.0.mtime_ns = *mtime_ns;
                return Got::Stamp(Some(self.temp.0));
            }
            FileAction::WriteTemp(bytes) => {
                self.temp.0.size = bytes.len() as u64;
                self.temp.1 = bytes.clone();
                return Got::Temp(String::new());
            }
            FileAction::WriteSidecar(content) => self.sidecar = *content,
            FileAction::Rename { .. } => self.document = self.temp.clone(),
            _ => {}
        }
        Got::Nothing
    }
}
