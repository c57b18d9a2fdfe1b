//! The contents of outboxes, for operators: read without their locks.

use super::{
    Work,
    file::{Folder, Named, named},
    line, takeover,
};
use crate::{
    disk::{folder, os_lock},
    model::{Result, error::io_error},
};
use rustix::fs::{Mode, OFlags};
use std::path::{Path, PathBuf};

/// One file in a folder of outboxes.
pub(crate) struct Listed {
    pub(crate) path: PathBuf,
    /// Whether a process holds its lock.
    pub(crate) alive: bool,
    pub(crate) pending: Vec<Work>,
    /// Number of damaged lines: among its own, or all lines of a `.poison` file.
    pub(crate) damaged: usize,
    pub(crate) torn: usize,
    /// Which server the records are for.
    pub(crate) server: Option<String>,
}

pub(crate) fn list(path: &Path) -> Result<Vec<Listed>> {
    let failed = |e| io_error(path, "list the outboxes in", e);
    let folder = Folder::open(path).map_err(failed)?;
    let mut names = folder::names(&folder.dir, path)?;
    names.sort_unstable();
    let mut listed = Vec::new();
    for name in names {
        let (Some(kind @ (Named::Outbox | Named::Poison)), path) = (named(&name), path.join(&name))
        else {
            continue;
        };
        // It may have been removed since the folder was listed.
        let Ok(file) = folder::open_at(&folder.dir, &name, OFlags::RDONLY, Mode::empty()) else {
            continue;
        };
        let alive = kind == Named::Outbox && !matches!(os_lock::try_lock_shared(&file), Ok(true));
        let bytes = takeover::read(&file).map_err(|e| io_error(&path, "read", e))?;
        let content = line::parse(&bytes);
        listed.push(Listed {
            path,
            alive,
            pending: content.pending.into_values().collect(),
            damaged: content.damaged.len(),
            torn: content.torn,
            server: content.server,
        });
    }
    Ok(listed)
}
