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

/// The folder that a store never leaves, and how much of a file it reads.
#[derive(Debug)]
pub(crate) struct Root {
    pub(super) dir: File,
    pub(super) path: PathBuf,
    pub(super) max_bytes: u64,
    /// Whether other machines may write below it, so that an identity is asked for by opening the file.
    pub(super) network: bool,
}

impl Root {
    /// Opens the root, which is made where it is missing.
    pub(crate) fn open(path: &Path, max_bytes: u64, file_system: FileSystem) -> Result<Self> {
        let is_new = make_durably(path).map_err(|e| io_error(path, "make the store's root", e))?;
        if is_new {
            // A slip of the pen in the path shows here.
            log::info!("{}: a new store's root, it was not there", path.display());
        }
        // The caller names the root, so a link to it is the caller's choice; what is below is not.
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

    /// Whether a look at a file may wait for another machine.
    #[cfg(feature = "tokio")]
    pub(crate) fn is_on_network(&self) -> bool {
        self.network
    }

    /// The root may be open to others since these were made.
    fn share_own_folders(&self) {
        for name in [journal::FOLDER, OUTBOX_FOLDER] {
            if let Ok(Some(folder)) = self.folder(name) {
                rights::share(&folder, &self.dir);
            }
        }
    }

    /// The document's identity, to hold against that of a file read before: one system call where one machine writes.
    /// `None` for anything but a plain file, and for any trouble: the safe way then says what it is.
    ///
    /// That call resolves two components at once, so it follows a run folder that was swapped for a symbolic link, which
    /// the safe way refuses. No content is read by it: an identity that differs leads to the safe way, and with an equal one a
    /// reader gets what was read inside the root before.
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

    /// Whether the path of a name in a run folder still leads to this open file: so the folder is still there, and is the one in
    /// which that was opened.
    pub(super) fn leads_to(&self, folder: &str, name: &str, file: &File) -> bool {
        let named = match self.network {
            // A name may be known from memory: the server is asked where it is opened.
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

    /// Documents of a run folder: names of files, and of those that a sidecar is for.
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

    /// The folder, or `None` where there is none. A symbolic link is refused: two run ids would share its files.
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

/// Makes the folder and those above it where they are missing, lets whoever may write in the folder above use each, and syncs each
/// folder that got a new name: a save below would not survive a power loss without it.
pub(super) fn make_durably(path: &Path) -> io::Result<bool> {
    let missing = missing(path);
    std::fs::create_dir_all(path)?;
    // Outermost first, so that no synced name hangs below one that may be lost.
    for (new, above) in missing.iter().rev() {
        let above_dir = match File::open(above) {
            Ok(dir) => dir,
            // One that may be written and not be read cannot be synced by its user.
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

/// The folders that making `path` will make, each with the one that gets its name; innermost first.
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
