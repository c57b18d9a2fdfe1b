//! The flow as one writes it by hand on redis-rs: three round trips, and a durable file where one is wanted.

use crate::scene::{Content, Names};
use redis::{Connection, ConnectionInfo, IntoConnectionInfo as _, Script, io::tcp::TcpSettings};
use std::{
    fs::{self, File},
    io::Write as _,
    path::{Path, PathBuf},
    time::Duration,
};

const UNLOCK: &str = "if redis.call('GET', KEYS[1]) == ARGV[1] then return redis.call('UNLINK', KEYS[1]) end return 0";
/// The library's own defaults.
const LOCK_MS: u64 = 60_000;
const ENTRY_MS: u64 = 72 * 3_600 * 1_000;
/// For both sides; long, so that a machine that stands still for a moment ends no run.
pub const RESPONSE_TIMEOUT: Duration = Duration::from_secs(30);

pub struct ByHand {
    connection: Connection,
    unlock: Script,
    names: Names,
    lock: String,
    /// For tokens that differ; by hand one takes a random one, which costs about the same.
    saves: u128,
}

impl ByHand {
    pub fn new(url: &str, names: Names) -> redis::RedisResult<Self> {
        let connection = connect(url)?;
        Ok(Self {
            connection,
            unlock: Script::new(UNLOCK),
            lock: format!("{}:by-hand-lock", names.own),
            names,
            saves: 0,
        })
    }

    /// Round trip 1.
    pub fn lock(&mut self) -> redis::RedisResult<String> {
        self.saves += 1;
        let token = format!("{:032x}", self.saves);
        let taken: Option<String> = redis::cmd("SET")
            .arg(&self.lock)
            .arg(&token)
            .arg("NX")
            .arg("PX")
            .arg(LOCK_MS)
            .query(&mut self.connection)?;
        taken.expect("nobody else locks");
        Ok(token)
    }

    /// Round trips 2 and 3; how many dependents were deleted.
    pub fn commit_and_unlock(&mut self, bytes: &[u8], token: &str) -> redis::RedisResult<usize> {
        let (removed,): (usize,) = redis::pipe()
            .atomic()
            .cmd("SET")
            .arg(&self.names.own)
            .arg(bytes)
            .arg("PX")
            .arg(ENTRY_MS)
            .ignore()
            .cmd("UNLINK")
            .arg(&self.names.dependents)
            .query(&mut self.connection)?;
        let freed: u64 = self
            .unlock
            .key(&self.lock)
            .arg(token)
            .invoke(&mut self.connection)?;
        assert_eq!(freed, 1);
        Ok(removed)
    }
}

/// With the settings that the library has: no delay, and bounded waits.
pub fn connect(url: &str) -> redis::RedisResult<Connection> {
    let info: ConnectionInfo = url.into_connection_info()?;
    let info = info.set_tcp_settings(TcpSettings::default().set_nodelay(true));
    let connection = redis::Client::open(info)?.get_connection()?;
    connection.set_read_timeout(Some(RESPONSE_TIMEOUT))?;
    connection.set_write_timeout(Some(RESPONSE_TIMEOUT))?;
    Ok(connection)
}

/// A document file, read whole and replaced durably.
pub struct DocumentFile {
    folder: PathBuf,
    path: PathBuf,
}

impl DocumentFile {
    pub fn new(folder: &Path) -> std::io::Result<Self> {
        fs::create_dir_all(folder)?;
        Ok(Self {
            folder: folder.to_owned(),
            path: folder.join("by_hand.json"),
        })
    }

    pub fn read(&self) -> std::io::Result<Content> {
        Ok(serde_json::from_slice(&fs::read(&self.path)?)?)
    }

    /// A temporary file, synced, renamed, and the folder synced.
    pub fn write(&self, bytes: &[u8]) -> std::io::Result<()> {
        let mut file = tempfile::NamedTempFile::new_in(&self.folder)?;
        file.write_all(bytes)?;
        file.as_file().sync_all()?;
        file.persist(&self.path)?;
        File::open(&self.folder)?.sync_all()
    }
}
