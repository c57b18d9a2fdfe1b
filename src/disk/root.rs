use super::folder;
use crate::{
    Error, Result,
    error::{Kind, io_error},
};
use rustix::{
    fs::{Mode, OFlags},
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
}

impl Root {
    /// Opens the root, which is made where it is missing.
    pub(crate) fn open(path: &Path, max_bytes: u64) -> Result<Self> {
        std::fs::create_dir_all(path).map_err(|e| io_error(path, "make the store's root", e))?;
        // The caller names the root, so a link to it is the caller's choice; what is below is not.
        let dir = File::open(path).map_err(|e| io_error(path, "open the store's root", e))?;
        Ok(Self {
            dir,
            path: path.to_owned(),
            max_bytes,
        })
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
