use super::{FileId, SimDisk, Weakness};
use crate::{
    disk::{FileAction, Folder, Got, Identity, READ_ONLY_MARKER, Sidecar, sidecar, temp},
    model::{
        Error, Place, Result,
        error::{Kind, io_error},
    },
};
use std::{collections::BTreeMap, io, path::Path};

/// The open files of one protocol run, like [`Session`](crate::disk::Session). The simulation
/// closes it when a run ends or its process dies: the OS locks are released, the files stay.
#[derive(Debug)]
pub(crate) struct SimSession {
    id: u64,
    open: BTreeMap<String, Open>,
}

#[derive(Debug, Default)]
pub(super) struct Open {
    temp: Option<(String, FileId)>,
    sidecar: Option<FileId>,
    /// Used if the place is a journal's; locked or not.
    pub(super) journal: Option<FileId>,
    pub(super) made_journal: bool,
    /// Whether the sidecar's lock is kept until the session ends.
    held: bool,
}

impl SimSession {
    pub(super) fn new(id: u64) -> Self {
        Self {
            id,
            open: BTreeMap::new(),
        }
    }

    /// Releases all OS locks.
    pub(crate) fn close(self, disk: &mut SimDisk) {
        disk.locks.retain(|_, session| *session != self.id);
    }

    /// Performs one action on one document; `wall_ns` is the clock, in ns since 1970.
    pub(crate) fn perform(
        &mut self,
        disk: &mut SimDisk,
        place: &Place,
        action: &FileAction,
        wall_ns: i64,
    ) -> Result<Got> {
        if let FileAction::WriteJournal { journal, over } = action {
            for (member, over) in journal.members.iter().zip(over) {
                if !self.step(disk, &member.place, wall_ns).is_still(*over)? {
                    return Ok(Got::Torn);
                }
            }
        }
        self.step(disk, place, wall_ns).perform(action)
    }

    fn step<'a>(&'a mut self, disk: &'a mut SimDisk, place: &'a Place, wall_ns: i64) -> Step<'a> {
        Step {
            session: self.id,
            disk,
            open: self.open.entry(place.path()).or_default(),
            place,
            wall_ns,
        }
    }
}

/// One action in progress.
pub(super) struct Step<'a> {
    pub(super) session: u64,
    pub(super) disk: &'a mut SimDisk,
    pub(super) open: &'a mut Open,
    pub(super) place: &'a Place,
    pub(super) wall_ns: i64,
}

impl Step<'_> {
    fn perform(mut self, action: &FileAction) -> Result<Got> {
        let there = self.disk.root.now().contains_key(&*self.place.folder);
        match action {
            FileAction::LookAtFolder => Ok(Got::Folder(self.look_at_folder())),
            FileAction::MakeFolder => self.make_folder(),
            FileAction::SyncRoot | FileAction::SyncFolder
                if self.disk.is(Weakness::NotSyncable)
                    && (there || *action == FileAction::SyncRoot) =>
            {
                Ok(Got::NotSyncable)
            }
            FileAction::SyncRoot => {
                if !self.disk.is(Weakness::NoRootSync) {
                    self.disk.root.sync();
                }
                Ok(Got::Nothing)
            }
            FileAction::Stat => Ok(Got::Identity(self.identity())),
            FileAction::Read => Ok(match self.document().map(|id| &self.disk.files[&id]) {
                Some(file) => Got::File(file.identity(), file.bytes().into()),
                None => Got::Missing,
            }),
            FileAction::PeekSidecar => Ok(Got::Sidecar(self.peek_sidecar())),
            FileAction::UnlockSidecar => {
                if !self.open.held
                    && let Some(file) = self.open.sidecar.take()
                {
                    self.disk.unlock(file, self.session);
                }
                Ok(Got::Nothing)
            }
            FileAction::DiscardTemp => {
                if let Some((name, file)) = self.open.temp.take() {
                    self.names().unlink(&name);
                    self.disk.unlock(file, self.session);
                }
                Ok(Got::Nothing)
            }
            FileAction::Sweep => {
                self.sweep();
                Ok(Got::Nothing)
            }
            FileAction::ReadJournal
            | FileAction::LockJournal
            | FileAction::RemoveJournal
            | FileAction::ListJournals
                if !there =>
            {
                Ok(self.without_journals(action))
            }
            _ if !there => Err(self.failed("find the folder of", io::ErrorKind::NotFound)),
            FileAction::LockSidecar if self.open.held => {
                self.own_sidecar()?;
                Ok(Got::Sidecar(self.peek_sidecar()))
            }
            FileAction::LockSidecar => Ok(self.lock_sidecar()),
            FileAction::HoldSidecar => {
                if self.open.sidecar.is_none() {
                    return Err(self.failed("go on with", io::ErrorKind::Other));
                }
                self.open.held = true;
                Ok(Got::Nothing)
            }
            FileAction::WriteSidecar(content) => self.write_sidecar(content),
            FileAction::SyncSidecar => {
                let Some(file) = self.open.sidecar else {
                    return Err(self.failed("go on with", io::ErrorKind::Other));
                };
                if !self.disk.is(Weakness::NoSidecarSync) {
                    self.file(file).sync();
                }
                Ok(Got::Nothing)
            }
            FileAction::WriteTemp(bytes) => Ok(self.write_temp(bytes).map_or(Got::Busy, Got::Temp)),
            FileAction::StampTemp { mtime_ns } => self.stamp_temp(*mtime_ns),
            FileAction::SyncTemp => {
                let file = self.temp()?.1;
                if !self.disk.is(Weakness::NoFileSync)
                    && !self.disk.is(Weakness::FileSyncAfterRename)
                {
                    self.file(file).sync();
                }
                Ok(Got::Nothing)
            }
            // There are no obstacles to renames on this disk.
            FileAction::AskRename => Ok(Got::Nothing),
            FileAction::Rename { over } => {
                let (from, file) = self.temp()?;
                if !self.is_still(*over)? {
                    return Ok(Got::Torn);
                }
                let to = self.place.file.to_string();
                if !self.names().rename(&from, &to) {
                    return Err(self.failed("rename", io::ErrorKind::NotFound));
                }
                self.open.temp = None;
                self.disk.unlock(file, self.session);
                self.touch(file);
                Ok(Got::Nothing)
            }
            FileAction::Unlink { over } => {
                if !self.is_still(*over)? {
                    return Ok(Got::Torn);
                }
                let name = self.place.file.to_string();
                match self.names().unlink(&name) {
                    true => Ok(Got::Nothing),
                    false => Err(self.failed("delete", io::ErrorKind::NotFound)),
                }
            }
            FileAction::StatLeft { token } => {
                let left = self.left(token).map(|(_, id)| self.disk.files[&id].stamp());
                Ok(Got::Stamp(left))
            }
            FileAction::RenameLeft { token, over } => {
                if !self.is_still(*over)? {
                    return Ok(Got::Torn);
                }
                let to = self.place.file.to_string();
                let (from, file) = self
                    .left(token)
                    .ok_or_else(|| self.failed("rename", io::ErrorKind::NotFound))?;
                self.names().rename(&from, &to);
                self.touch(file);
                Ok(Got::Nothing)
            }
            FileAction::DiscardLeft { token } => {
                self.own_sidecar()?;
                if let Some((name, _)) = self.left(token) {
                    self.names().unlink(&name);
                }
                Ok(Got::Nothing)
            }
            FileAction::MakeJournal
            | FileAction::WriteJournal { .. }
            | FileAction::SyncJournal
            | FileAction::ReadJournal
            | FileAction::LockJournal
            | FileAction::RemoveJournal
            | FileAction::ListJournals => self.act_on_journal(action),
            FileAction::SyncFolder => {
                if !self.disk.is(Weakness::NoFolderSync) {
                    self.names().sync();
                }
                Ok(Got::Nothing)
            }
        }
    }

    pub(super) fn failed(&self, action: &'static str, kind: io::ErrorKind) -> crate::model::Error {
        io_error(Path::new(&self.place.path()), action, kind.into())
    }

    /// The folder, which was created or found before.
    pub(super) fn names(&mut self) -> &mut super::Names {
        let folder = self.place.folder.clone();
        self.disk.folders.entry(folder).or_default()
    }

    pub(super) fn file(&mut self, id: FileId) -> &mut super::File {
        self.disk.files.get_mut(&id).expect("files are kept")
    }

    pub(super) fn document(&self) -> Option<FileId> {
        self.disk.lookup(&self.place.folder, &self.place.file)
    }

    fn identity(&self) -> Option<Identity> {
        self.document().map(|id| self.disk.files[&id].identity())
    }

    fn touch(&mut self, file: FileId) {
        let now = match self.disk.is(Weakness::DeafToTimes) {
            true => 1,
            false => self.disk.kept_of(self.wall_ns),
        };
        self.file(file).touch(now);
    }

    /// Fails if the sidecar's name no longer leads to the file whose lock is held.
    fn own_sidecar(&self) -> Result<()> {
        match self.open.sidecar {
            None => Err(self.failed("go on with", io::ErrorKind::Other)),
            own if own == self.sidecar() || !self.disk.looks() => Ok(()),
            _ => Err(Error::new(Kind::LockLost {
                document: self.place.path(),
                why: "its sidecar was removed or replaced",
            })),
        }
    }

    /// The last look: whether the document is still what was checked.
    fn is_still(&self, over: Option<Identity>) -> Result<bool> {
        self.own_sidecar()?;
        Ok(self.identity() == over || !self.disk.looks())
    }

    fn temp(&self) -> Result<(String, FileId)> {
        let temp = self.open.temp.clone();
        temp.ok_or_else(|| self.failed("go on with", io::ErrorKind::Other))
    }

    fn look_at_folder(&self) -> Folder {
        let folder = &*self.place.folder;
        if !self.disk.root.now().contains_key(folder) {
            return Folder::Missing;
        }
        match self.disk.lookup(folder, READ_ONLY_MARKER) {
            Some(_) => Folder::ReadOnly,
            None => Folder::Writable,
        }
    }

    fn make_folder(&mut self) -> Result<Got> {
        let folder = &*self.place.folder;
        if !self.disk.root.now().contains_key(folder) {
            // Nothing uses the folder's id.
            self.disk.root.link(folder, 0);
            self.disk.folders.insert(folder.into(), Default::default());
        }
        Ok(Got::Nothing)
    }

    fn sidecar(&self) -> Option<FileId> {
        let name = sidecar::name(&self.place.file);
        self.disk.lookup(&self.place.folder, &name)
    }

    fn peek_sidecar(&self) -> Sidecar {
        let file = self.sidecar().map(|id| &self.disk.files[&id]);
        let content = file.and_then(|file| sidecar::parse(file.bytes()));
        content.unwrap_or_default()
    }

    fn lock_sidecar(&mut self) -> Got {
        let file = self.sidecar().unwrap_or_else(|| {
            let (name, new) = (
                sidecar::name(&self.place.file),
                self.disk.new_file(self.wall_ns),
            );
            self.names().link(&name, new);
            new
        });
        // A session that already has the lock asks by a new descriptor, like the real one, so it is
        // busy.
        let free = self.open.sidecar != Some(file) && self.disk.lock(file, self.session);
        if !free && !self.disk.is(Weakness::NoSidecarLock) {
            return Got::Busy;
        }
        self.open.sidecar = Some(file);
        Got::Sidecar(self.peek_sidecar())
    }

    fn write_sidecar(&mut self, content: &Sidecar) -> Result<Got> {
        let Some(file) = self.open.sidecar else {
            return Err(self.failed("go on with", io::ErrorKind::Other));
        };
        let now = self.disk.kept_of(self.wall_ns);
        let line = sidecar::line(content);
        self.file(file).write(line.as_bytes(), now);
        Ok(Got::Nothing)
    }

    fn write_temp(&mut self, bytes: &[u8]) -> Option<String> {
        if let Some((_, before)) = self.open.temp.take() {
            self.disk.unlock(before, self.session);
        }
        let (folder, document) = (self.place.folder.clone(), self.place.file.clone());
        let names = temp::tokens().map(|token| (temp::name(&document, &token), token));
        let mut free = names.filter(|(name, _)| self.disk.lookup(&folder, name).is_none());
        let (name, token) = free.next()?;
        drop(free);
        let file = self.disk.new_file(self.wall_ns);
        self.names().link(&name, file);
        self.disk.lock(file, self.session);
        let now = self.disk.kept_of(self.wall_ns);
        self.file(file).write(bytes, now);
        self.open.temp = Some((name, file));
        Some(token)
    }

    /// A temporary file that a dead writer left.
    fn left(&self, token: &str) -> Option<(String, FileId)> {
        let name = temp::name(&self.place.file, token);
        let file = self.disk.lookup(&self.place.folder, &name)?;
        Some((name, file))
    }

    fn stamp_temp(&mut self, mtime_ns: i64) -> Result<Got> {
        let (_, file) = self.temp()?;
        let kept = self.disk.kept_of(mtime_ns);
        if self.disk.is(Weakness::DeafToTimes) {
            let mut told = self.file(file).stamp();
            self.file(file).set_mtime(0);
            told.mtime_ns = kept;
            return Ok(Got::Stamp(Some(told)));
        }
        self.file(file).set_mtime(kept);
        self.touch(file);
        Ok(Got::Stamp(Some(self.file(file).stamp())))
    }

    fn sweep(&mut self) {
        if self.disk.is(Weakness::NoSweep) {
            return;
        }
        if let (true, Some(document)) =
            (self.disk.is(Weakness::FileSyncAfterRename), self.document())
        {
            self.file(document).sync();
        }
        for token in temp::tokens() {
            if let Some((name, file)) = self.left(&token)
                && !self.disk.locks.contains_key(&file)
            {
                self.names().unlink(&name);
            }
        }
    }
}
