//! Outboxes, for operators.

use crate::{
    disk::{self, Work},
    model::Result,
    rules::Params,
};
use std::{
    path::{Path, PathBuf},
    time::{Duration, SystemTime},
};

/// One file in a folder of outboxes. See [`CacheBuilder::outbox`](crate::CacheBuilder::outbox).
///
/// # Examples
///
/// ```
/// use cachetx::OutboxFile;
///
/// # let folder = tempfile::tempdir()?;
/// for file in OutboxFile::list(folder.path())? {
///     println!("{}: {} records", file.path.display(), file.records.len());
/// }
/// # Ok::<(), cachetx::BoxError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct OutboxFile {
    /// Its path.
    pub path: PathBuf,
    /// Whether its process is alive. If so, that process replays it; if not, the next one that
    /// looks does.
    pub alive: bool,
    /// What the server has not acknowledged, oldest first.
    pub records: Vec<OutboxRecord>,
    /// Lines that are damaged or of an unknown version. A `.poison` file has only such lines.
    pub damaged: usize,
    /// Bytes of an incomplete record at the end, which was never acknowledged: the process died
    /// while writing it.
    pub torn_bytes: usize,
    /// The server that the records are for, as its process names it: `127.0.0.1:6379/0`, or
    /// `sentinel mymaster/0`, or `cluster/0`; `None` in files of earlier versions. Only a process
    /// that names its server the same way takes the file over.
    pub server: Option<String>,
}

/// An invalidation that the server has not acknowledged.
///
/// # Examples
///
/// ```
/// use cachetx::OutboxFile;
///
/// # let folder = tempfile::tempdir()?;
/// for record in OutboxFile::list(folder.path())?.iter().flat_map(|file| &file.records) {
///     println!("to be deleted since {:?}: {:?}", record.at, record.keys);
/// }
/// # Ok::<(), cachetx::BoxError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct OutboxRecord {
    /// When it was recorded.
    pub at: SystemTime,
    /// The keys to delete; empty for a record of every key that the params can make.
    pub keys: Vec<String>,
    /// The key of a lock that is released too, if the process that recorded this still holds it.
    pub lock: Option<String>,
    /// The params that the keys were made from.
    pub params: Params,
}

impl OutboxFile {
    /// Reads the outboxes in a folder as they are now, without blocking their owners. A store's
    /// outboxes are in `.cachetx-outbox` below its root.
    /// [`Cache::replay_outbox`](crate::Cache::replay_outbox) replays them.
    ///
    /// # Errors
    ///
    /// The folder, or a file in it, cannot be read.
    pub fn list(folder: impl AsRef<Path>) -> Result<Vec<Self>> {
        let listed = disk::list(folder.as_ref())?;
        let file = |file: disk::Listed| Self {
            path: file.path,
            alive: file.alive,
            records: file.pending.into_iter().map(OutboxRecord::from).collect(),
            damaged: file.damaged,
            torn_bytes: file.torn,
            server: file.server,
        };
        Ok(listed.into_iter().map(file).collect())
    }
}

impl From<Work> for OutboxRecord {
    fn from(work: Work) -> Self {
        let at = |ns| SystemTime::UNIX_EPOCH + Duration::from_nanos(u64::try_from(ns).unwrap_or(0));
        match work {
            Work::Keys(what) => Self {
                at: at(what.at_ns),
                keys: what
                    .entries
                    .iter()
                    .map(|entry| entry.value.to_string())
                    .collect(),
                lock: what.release.map(|lock| lock.key),
                params: what.params,
            },
            Work::Everything { params, at_ns } => Self {
                at: at(at_ns),
                keys: Vec::new(),
                lock: None,
                params,
            },
        }
    }
}
