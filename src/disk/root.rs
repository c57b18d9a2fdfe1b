use super::{FileSystem, Got, Place, folder, read};
use crate::{
    Error, Result,
    error::{Kind, io_error},
    op::Stamp,
};
use rustix::{
    fs::{AtFlags, FileType, Mode, OFlags},
    io::Errno,
};
use std::{
    fs::File,
    path::{Path, PathBuf},
};

/// The folder that a store never leaves, and how much of a file it reads.
#[derive(Debug)]
pub(crate) struct Root {
    pub(super) dir: File,
    pub(super) path: PathBuf,
    pub(super) max_bytes: u64,
    /// Whether other machines may write below it, so that a stamp is asked for by opening the file.
    pub(super) network: bool,
}

impl Root {
    /// Opens the root, which is made where it is missing.
    pub(crate) fn open(path: &Path, max_bytes: u64, file_system: FileSystem) -> Result<Self> {
        std::fs::create_dir_all(path).map_err(|e| io_error(path, "make the store's root", e))?;
        // The caller names the root, so a link to it is the caller's choice; what is below is not.
        let dir = File::open(path).map_err(|e| io_error(path, "open the store's root", e))?;
        let network = file_system.is_network(&dir);
        Ok(Self {
            dir,
            path: path.to_owned(),
            max_bytes,
            network,
        })
    }

    /// The document's stamp, to hold against one that a file read before had: one system call where one machine writes.
    /// `None` for anything but a plain file, and for any trouble: the safe way then says what it is.
    ///
    /// That call resolves two components at once, so it follows a run folder that was swapped for a symbolic link, which
    /// the safe way refuses. No content is read by it: a stamp that differs leads to the safe way, and with an equal one a
    /// reader gets what was read inside the root before.
    pub(crate) fn glance(&self, place: &Place) -> Option<Stamp> {
        if self.network {
            let dir = self.folder(&place.folder).ok()??;
            return match read::stat_open(&dir, &self.path, &place.file) {
                Ok(Got::Stamp(stamp)) => stamp,
                _ => None,
            };
        }
        let stat = rustix::fs::statat(&self.dir, place.path(), AtFlags::SYMLINK_NOFOLLOW).ok()?;
        (folder::file_type(&stat) == FileType::RegularFile).then(|| folder::stamp(&stat))
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
