//! Files of dead owners: the process that gets the OS lock replays the records and removes the
//! file.

use super::{
    State, Work,
    file::{Folder, Named, named, poison_of},
    line,
};
use crate::{
    disk::{folder, os_lock::Lockable, rights},
    model::{counted, limits},
};
use rustix::fs::{Mode, OFlags};
use std::{
    collections::{BTreeMap, HashSet},
    fs::File,
    io::{self, Read, Write},
    path::PathBuf,
    sync::Arc,
};

/// A dead owner's file, with its lock held.
#[derive(Debug)]
pub(super) struct Adopted {
    pub(super) number: u64,
    pub(super) pending: BTreeMap<u64, Work>,
    folder: Arc<Folder>,
    name: String,
    /// Keeps the lock.
    _file: Lockable,
}

impl Adopted {
    /// Retires a record. If it was the last one, removes the file and returns `true`.
    pub(super) fn retire(&mut self, id: u64) -> bool {
        self.pending.remove(&id);
        if !self.pending.is_empty() {
            return false;
        }
        self.remove();
        true
    }

    fn remove(&self) {
        let path = self.folder.path.join(&self.name);
        let removed = self.folder.remove(&self.name);
        match removed.and_then(|()| self.folder.sync()) {
            Ok(()) => log::info!("{}: a dead process's outbox is done with", path.display()),
            Err(e) => log::warn!("{}: cannot remove it: {e}", path.display()),
        }
    }
}

impl State {
    /// Returns how many files with records it took over, and how many damaged lines it set aside.
    /// Takes over at most `MAX_TAKEN_OVER` files at a time: they are kept in memory.
    pub(super) fn take_over(&mut self) -> (usize, u64) {
        let (mut taken, mut set_aside) = (0, 0);
        for path in &self.folders {
            let folder = match Folder::open(path) {
                Ok(folder) => Arc::new(folder),
                Err(e) if e.kind() == io::ErrorKind::NotFound => continue,
                Err(e) => {
                    log::warn!("{}: cannot look for outboxes: {e}", path.display());
                    continue;
                }
            };
            let names = folder::names(&folder.dir, path).unwrap_or_else(|e| {
                log::warn!("{e}");
                Vec::new()
            });
            for name in names {
                if self.adopted.len() == limits::MAX_TAKEN_OVER {
                    return (taken, set_aside);
                }
                if self.foreign.contains(&name) {
                    continue;
                }
                match take(&folder, &name) {
                    Ok(None) => {}
                    Ok(Some((_, content))) if self.is_foreign(&content) && !content.is_empty() => {
                        let path = path.join(&name);
                        leave(&mut self.foreign, path, name, &content);
                    }
                    Ok(Some((file, content))) => {
                        if let Err(e) = report(&folder, &name, &content) {
                            log::warn!("{}: {e}", path.join(&name).display());
                            continue;
                        }
                        set_aside += content.damaged.len() as u64;
                        self.adoptions += 1;
                        let adopted = Adopted {
                            number: self.adoptions,
                            pending: content.pending,
                            folder: Arc::clone(&folder),
                            name,
                            _file: file,
                        };
                        if adopted.pending.is_empty() {
                            adopted.remove();
                        } else {
                            taken += 1;
                            self.adopted.push(adopted);
                        }
                    }
                    Err(e) => log::warn!("{}: {e}", path.join(&name).display()),
                }
            }
        }
        (taken, set_aside)
    }

    /// Whether the records are for another server than this process's.
    fn is_foreign(&self, content: &line::Content) -> bool {
        let both = self.server.as_ref().zip(content.server.as_ref());
        !self.takes_any && both.is_some_and(|(own, theirs)| own != theirs)
    }
}

/// Leaves a file to processes of its own server, and says so once.
fn leave(foreign: &mut HashSet<String>, path: PathBuf, name: String, content: &line::Content) {
    if foreign.len() >= limits::MAX_WARNED_CAUSES {
        foreign.clear();
    }
    log::warn!(
        "{}: {} of a dead process for another server ({}): left to a process with that server, or to `cachetx outbox replay --any-server`",
        path.display(),
        counted(content.pending.len(), "record", "records"),
        content.server.as_deref().unwrap_or_default().escape_debug()
    );
    foreign.insert(name);
}

/// The file with its lock, and its content; `None` if its owner lives, or if it is not an outbox.
fn take(folder: &Folder, name: &str) -> io::Result<Option<(Lockable, line::Content)>> {
    let kind = match named(name) {
        Some(kind @ (Named::Outbox | Named::New)) => kind,
        _ => return Ok(None),
    };
    let Some(file) = lock(folder, name)? else {
        return Ok(None);
    };
    if kind == Named::New {
        folder.remove(name)?;
        return Ok(None);
    }
    let content = line::parse(&read(&file)?);
    Ok(Some((file, content)))
}

/// Says what a file has that is taken over, and sets aside what cannot be read of it.
fn report(folder: &Folder, name: &str, content: &line::Content) -> io::Result<()> {
    let path = folder.path.join(name);
    log::info!(
        "{}: its owner is dead: {} to replay, {} torn",
        path.display(),
        counted(content.pending.len(), "record", "records"),
        counted(content.torn, "byte", "bytes")
    );
    if !content.damaged.is_empty() {
        set_aside(folder, name, &content.damaged)?;
        log::error!(
            "{}: {}, set aside in {}: entries that should have been deleted may be stale until their TTL",
            path.display(),
            counted(
                content.damaged.len(),
                "damaged or unknown line",
                "damaged or unknown lines"
            ),
            poison_of(name)
        );
    }
    Ok(())
}

/// The whole file. Refuses a file larger than any process could have written.
pub(super) fn read(mut file: &File) -> io::Result<Vec<u8>> {
    let len = file.metadata()?.len();
    if len > limits::MAX_OUTBOX_FILE_BYTES {
        return Err(io::Error::new(
            io::ErrorKind::FileTooLarge,
            format!("{len} bytes are more than an outbox can have"),
        ));
    }
    let mut bytes = Vec::with_capacity(len as usize);
    file.read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// `None` if another process has the lock, or if the name no longer leads to the locked file.
fn lock(folder: &Folder, name: &str) -> io::Result<Option<Lockable>> {
    let file = match folder::open_at(&folder.dir, name, OFlags::RDONLY, Mode::empty()) {
        Ok(file) => Lockable::from(file),
        Err(rustix::io::Errno::NOENT) => return Ok(None),
        Err(e) => return Err(e.into()),
    };
    if !file.try_lock()? {
        return Ok(None);
    }
    Ok(folder::leads_to(&folder.dir, name, &file)?.then_some(file))
}

/// Written whole each time, so that a retry after a crash gives the same file.
fn set_aside(folder: &Folder, name: &str, lines: &[Vec<u8>]) -> io::Result<()> {
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::TRUNC;
    let mode = Mode::from_raw_mode(0o666);
    let mut poison = folder::open_at(&folder.dir, &poison_of(name), flags, mode)?;
    rights::share(&poison, &folder.dir);
    poison.write_all(&lines.concat())?;
    poison.sync_all()?;
    folder.sync()
}
