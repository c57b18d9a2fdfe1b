use super::{FileSystem, Got, Identity, OUTBOX_FOLDER, folder, journal, read, rights, sidecar};
use crate::model::{
    Error, Place, Result,
    error::{Kind, io_error},
};
use rustix::{
    fs::{AtFlags, FileType, Mode, OFlags},
    io::Errno,
};
use std::{
    collections::BTreeSet,
    fs::File,
    io,
    path::{Path, PathBuf},
};

/// The folder that a store never leaves, and the size limit for reads.
#[derive(Debug)]
pub(crate) struct Root {
    pub(super) dir: File,
    pub(super) path: PathBuf,
    pub(super) max_bytes: u64,
    /// Whether other machines may write below it. If so, identities are read by opening the file.
    pub(super) network: bool,
}

impl Root {
    /// Opens the root; creates it if missing.
    pub(crate) fn open(path: &Path, max_bytes: u64, file_system: FileSystem) -> Result<Self> {
        let is_new = make_durably(path).map_err(|e| io_error(path, "make the store's root", e))?;
        if is_new {
            // Shows a typo in the path.
            log::info!("{}: a new store's root, it was not there", path.display());
        }
        // The caller chose the root's path, so it may be a symbolic link. Nothing below may be one.
        let dir = File::open(path).map_err(|e| io_error(path, "open the store's root", e))?;
        let network = file_system.is_network(&dir);
        let root = Self {
            dir,
            path: path.to_owned(),
            max_bytes,
            network,
        };
        root.share_own_folders();
        Ok(root)
    }

    /// Whether looking at a file may have to wait for another machine.
    #[cfg(feature = "tokio")]
    pub(crate) fn is_on_network(&self) -> bool {
        self.network
    }

    /// The root's rights may have been widened since these folders were created.
    fn share_own_folders(&self) {
        for name in [journal::FOLDER, OUTBOX_FOLDER] {
            if let Ok(Some(folder)) = self.folder(name) {
                rights::share(&folder, &self.dir);
            }
        }
    }

    /// The document's identity, for comparison with that of a file read before. One system call if
    /// only this machine writes. `None` for anything but a plain file, and on any error: the safe
    /// way reports the cause.
    ///
    /// The call resolves two components at once, so it follows a run folder that was replaced by a
    /// symbolic link, which the safe way refuses. It reads no content: if the identity differs, the
    /// caller takes the safe way; if it is equal, the reader gets what was read inside the root
    /// before.
    pub(crate) fn glance(&self, place: &Place) -> Option<Identity> {
        if self.network {
            let dir = self.folder(&place.folder).ok()??;
            return match read::stat_open(&dir, &self.path, &place.file) {
                Ok(Got::Identity(identity)) => identity,
                _ => None,
            };
        }
        let stat = || rustix::fs::statat(&self.dir, place.path(), AtFlags::SYMLINK_NOFOLLOW);
        let stat = rustix::io::retry_on_intr(stat).ok()?;
        (folder::file_type(&stat) == FileType::RegularFile).then(|| folder::identity(&stat, false))
    }

    /// Whether the path of a name in a run folder still leads to this open file. If so, the folder
    /// still exists and is the one in which the file was opened.
    pub(super) fn leads_to(&self, folder: &str, name: &str, file: &File) -> bool {
        let named = match self.network {
            // A name may be cached locally; opening asks the server.
            true => self.folder(folder).ok().flatten().and_then(|dir| {
                let open = folder::open_at(&dir, name, OFlags::RDONLY, Mode::empty()).ok()?;
                rustix::fs::fstat(open).ok()
            }),
            false => {
                let path = [folder, "/", name].concat();
                let stat = || rustix::fs::statat(&self.dir, &path, AtFlags::SYMLINK_NOFOLLOW);
                rustix::io::retry_on_intr(stat).ok()
            }
        };
        let own = rustix::fs::fstat(file).ok();
        named
            .zip(own)
            .is_some_and(|(named, own)| folder::same_file(&named, &own))
    }

    /// The documents of a run folder: its visible file names, and those that have a sidecar.
    pub(crate) fn documents(&self, folder: &str) -> Result<BTreeSet<String>> {
        let Some(dir) = self.folder(folder)? else {
            return Ok(BTreeSet::new());
        };
        let names = folder::names(&dir, &self.path.join(folder))?;
        let documents = names
            .iter()
            .filter_map(|name| match name.strip_prefix('.') {
                None => Some(name.as_str()),
                Some(_) => sidecar::document(name),
            });
        Ok(documents.map(str::to_owned).collect())
    }

    /// The folder; `None` if it does not exist. A symbolic link is refused, because two run ids
    /// would share its files.
    pub(super) fn folder(&self, name: &str) -> Result<Option<File>> {
        match folder::open_at(
            &self.dir,
            name,
            OFlags::RDONLY | OFlags::DIRECTORY,
            Mode::empty(),
        ) {
            Ok(dir) => Ok(Some(dir)),
            Err(Errno::NOENT) => Ok(None),
            Err(Errno::LOOP | Errno::NOTDIR) if folder::is_link(&self.dir, name) => {
                Err(Error::new(Kind::Name {
                    what: "the run folder",
                    name: name.to_owned(),
                    why: format!(
                        "is a symbolic link in {}, which is not followed",
                        self.path.display()
                    ),
                }))
            }
            Err(e) => Err(io_error(
                &self.path.join(name),
                "open the run folder",
                e.into(),
            )),
        }
    }
}

/// Creates the folder and its missing parents, and gives each the access that its parent grants.
/// Syncs each folder that got a new name: otherwise a save below would not survive a power loss.
/// Whether any was missing.
pub(super) fn make_durably(path: &Path) -> io::Result<bool> {
    let missing = missing(path);
    std::fs::create_dir_all(path)?;
    // Outermost first, so that no synced name is below one that may be lost.
    for (new, above) in missing.iter().rev() {
        let above_dir = match File::open(above) {
            Ok(dir) => dir,
            // A folder that its user may write but not read cannot be synced.
            Err(e) => {
                log::warn!(
                    "cannot sync {}, so a power loss may take back what was made there: {e}",
                    above.display()
                );
                continue;
            }
        };
        rights::share(&File::open(new)?, &above_dir);
        folder::sync(&above_dir, above)?;
    }
    Ok(!missing.is_empty())
}

/// The folders that making `path` will create, each with its parent; innermost first.
fn missing(path: &Path) -> Vec<(PathBuf, PathBuf)> {
    let missing = path.ancestors().take_while(|folder| !folder.exists());
    missing
        .filter_map(|folder| {
            let above = match folder.parent()? {
                here if here.as_os_str().is_empty() => Path::new("."),
                above => above,
            };
            Some((folder.to_owned(), above.to_owned()))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn naming(path: &Path) -> Vec<PathBuf> {
        missing(path).into_iter().map(|(_, above)| above).collect()
    }

    #[test]
    fn every_folder_that_gets_a_new_name_is_synced() {
        let base = std::env::temp_dir().join(crate::model::token::hex_64().unwrap());
        let path = base.join("a").join("b");
        assert_eq!(
            naming(&path),
            [base.join("a"), base.clone(), std::env::temp_dir()]
        );
        Root::open(&path, 1, FileSystem::Auto).unwrap();
        assert!(path.is_dir());
        assert!(naming(&path).is_empty());
        std::fs::remove_dir_all(&base).unwrap();

        let relative = Path::new("no-such-folder-of-this-crate/a");
        let parents = ["no-such-folder-of-this-crate", "."].map(PathBuf::from);
        assert_eq!(naming(relative), parents);
    }
}
