//! Tries what a store needs of a file system, in a folder of its own below the root.

use super::{
    FileSystem,
    folder::{self, Names},
    os_lock::Lockable,
    temp::Temp,
};
use crate::model::{Result, error::io_error, token};
use rustix::fs::{Mode, OFlags};
use std::{
    fs::File,
    io::{self, Read as _},
    path::{Path, PathBuf},
    sync::atomic::{AtomicBool, Ordering::Relaxed},
    thread,
    time::Duration,
};

/// Hidden, unlike the folders of runs; a random name follows.
const FOLDER: &str = ".cachetx-trial-";
/// The document that is replaced there.
const DOCUMENT: &str = "document";
/// How often it is replaced while another thread reads it.
const REPLACEMENTS: u8 = 64;
/// More than one page, so that a torn one would show.
const BYTES: usize = 3 * 4_096;
/// An odd second, and a fraction with every digit, so that whatever a file system drops shows.
const MTIME_NS: i64 = 1_700_000_001_123_456_789;
/// The resolutions of modification times in file systems, in ns: from full resolution to FAT's two
/// seconds.
const STEPS_NS: [i64; 6] = [1, 100, 1_000, 1_000_000, 1_000_000_000, 2_000_000_000];

/// What the file system of a store's root can do, found out by trying.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct FileSystemReport {
    /// Whether it counts as [`FileSystem::Network`].
    pub network: bool,
    /// An OS lock (`flock`) of one open file excludes another open file. Without it, writers of one
    /// document are not kept apart.
    pub os_locks: Trial,
    /// A rename replaces a file, and a concurrent reader sees the old or the new file, whole.
    pub rename: Trial,
    /// A folder can be synced. Without it, it is unknown whether a save survives a power loss.
    pub folder_sync: Trial,
    /// The resolution of modification times; `None` if it is none of the known ones.
    pub time_step: Option<Duration>,
}

/// The result of one trial.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Trial {
    /// It works.
    Works,
    /// It fails.
    Fails {
        /// What was observed.
        why: String,
    },
}

impl FileSystemReport {
    /// Tries the file system in a new hidden folder below `root`, which is deleted afterwards. A
    /// missing root is not created.
    ///
    /// # Errors
    ///
    /// The root does not exist, or nothing can be created in it.
    ///
    /// # Examples
    ///
    /// ```
    /// use cachetx::{FileSystemReport, Trial};
    ///
    /// let root = tempfile::tempdir()?;
    /// let report = FileSystemReport::of(root.path())?;
    /// assert_eq!(report.rename, Trial::Works);
    /// assert_eq!(std::fs::read_dir(root.path())?.count(), 0);
    /// # Ok::<(), cachetx::BoxError>(())
    /// ```
    pub fn of(root: impl AsRef<Path>) -> Result<Self> {
        let root = root.as_ref();
        let opened = File::open(root).map_err(|e| io_error(root, "open the store's root", e))?;
        let ground = Ground::new(root).map_err(|e| io_error(root, "make a folder in", e))?;
        Ok(Self {
            network: FileSystem::Auto.is_network(&opened),
            os_locks: trial(ground.lock()),
            rename: trial(ground.replace()),
            folder_sync: trial(ground.sync()),
            time_step: ground.time_step().ok().flatten(),
        })
    }
}

/// `Err` holds what was observed, or the operating system's refusal.
fn trial(seen: io::Result<()>) -> Trial {
    match seen {
        Ok(()) => Trial::Works,
        Err(e) => Trial::Fails { why: e.to_string() },
    }
}

/// The folder for all trials.
struct Ground {
    dir: File,
    path: PathBuf,
}

impl Ground {
    fn new(root: &Path) -> io::Result<Self> {
        let path = root.join(format!("{FOLDER}{}", token::hex_64()?));
        std::fs::create_dir(&path)?;
        match File::open(&path) {
            Ok(dir) => Ok(Self { dir, path }),
            Err(e) => {
                let _ = std::fs::remove_dir(&path);
                Err(e)
            }
        }
    }

    fn lock(&self) -> io::Result<()> {
        let open = |flags| folder::open_at(&self.dir, "lock", flags, Mode::from_raw_mode(0o600));
        let owner = Lockable::from(open(OFlags::RDWR | OFlags::CREATE)?);
        let other = Lockable::from(open(OFlags::RDWR)?);
        if !owner.try_lock()? {
            return Err(io::Error::other("a file that nobody locks is locked"));
        }
        if other.try_lock()? {
            return Err(io::Error::other("two open files have one lock"));
        }
        drop(owner);
        match other.try_lock()? {
            true => Ok(()),
            false => Err(io::Error::other("a lock outlives its owner")),
        }
    }

    fn temp(&self, byte: u8) -> io::Result<Temp> {
        let written = Temp::write(&self.dir, DOCUMENT, None, &[byte; BYTES], &self.path)?;
        written.ok_or_else(|| io::Error::other("temporary files cannot be locked"))
    }

    fn replace(&self) -> io::Result<()> {
        self.temp(0)?.rename(&self.dir, DOCUMENT)?;
        let done = AtomicBool::new(false);
        thread::scope(|scope| {
            let reader = thread::Builder::new().spawn_scoped(scope, || {
                while !done.load(Relaxed) {
                    self.read_whole()?;
                }
                Ok(())
            });
            let replaced = (1..=REPLACEMENTS).try_for_each(|byte| {
                self.temp(byte)?.rename(&self.dir, DOCUMENT)?;
                self.read_whole()
            });
            done.store(true, Relaxed);
            let read = reader?.join();
            read.unwrap_or_else(|_| Err(io::Error::other("the reader panicked")))?;
            replaced
        })
    }

    /// Fails if the file is missing, or mixes bytes of two versions.
    fn read_whole(&self) -> io::Result<()> {
        let mut file = folder::open_at(&self.dir, DOCUMENT, OFlags::RDONLY, Mode::empty())?;
        let mut bytes = Vec::with_capacity(BYTES);
        file.read_to_end(&mut bytes)?;
        match bytes.len() == BYTES && bytes.iter().all(|byte| *byte == bytes[0]) {
            true => Ok(()),
            false => Err(io::Error::other("a reader saw a part of a file")),
        }
    }

    fn sync(&self) -> io::Result<()> {
        match folder::sync(&self.dir, &self.path)? {
            Names::Durable => Ok(()),
            Names::NotSyncable => Err(io::Error::other("folders cannot be synced")),
        }
    }

    fn time_step(&self) -> io::Result<Option<Duration>> {
        let kept = self.temp(0)?.set_mtime(MTIME_NS)?.mtime_ns;
        let mut steps = STEPS_NS.into_iter();
        let step = steps.find(|step| MTIME_NS - MTIME_NS % step == kept);
        Ok(step.map(|step| Duration::from_nanos(step.unsigned_abs())))
    }
}

impl Drop for Ground {
    fn drop(&mut self) {
        if let Err(e) = std::fs::remove_dir_all(&self.path) {
            log::warn!("{}: cannot remove it: {e}", self.path.display());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_root_that_is_not_there_is_not_made() {
        let root = tempfile::tempdir().unwrap();
        let missing = root.path().join("runs");
        assert!(FileSystemReport::of(&missing).unwrap_err().is_io());
        assert!(!missing.exists());
    }

    #[test]
    fn what_is_seen_is_told() {
        let root = tempfile::tempdir().unwrap();
        let ground = Ground::new(root.path()).unwrap();
        std::fs::write(ground.path.join(DOCUMENT), [1, 2]).unwrap();
        let Trial::Fails { why } = trial(ground.read_whole()) else {
            panic!("two bytes are no whole file");
        };
        assert!(why.contains("part of a file"), "{why}");
        drop(ground);
        assert_eq!(std::fs::read_dir(root.path()).unwrap().count(), 0);
    }
}
