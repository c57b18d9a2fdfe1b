use super::{
    FileAction, Folder, Got, Identity, Journal, READ_ONLY_MARKER, Root,
    folder::{self, Names},
    journal, obstacle,
    os_lock::Lockable,
    read, rights, sidecar,
    temp::{self, Temp},
};
use crate::model::{
    Error, Place, Result,
    error::{Kind, io_error},
};
use rustix::{
    fs::{Mode, OFlags},
    io::{Errno, retry_on_intr},
};
use std::{
    collections::HashMap,
    fs::File,
    io,
    path::{Path, PathBuf},
    sync::Arc,
};

/// The open files of one protocol run. Dropping it releases every OS lock.
#[derive(Debug)]
pub(crate) struct Session {
    root: Arc<Root>,
    open: HashMap<Place, Open>,
}

/// The open files of a run for one document.
#[derive(Debug, Default)]
struct Open {
    folder: Option<File>,
    temp: Option<Temp>,
    sidecar: Option<Lockable>,
    /// The session keeps the sidecar's OS lock until it ends.
    held: bool,
    /// Used if the place is a journal's.
    journal: OpenJournal,
}

#[derive(Debug, Default)]
struct OpenJournal {
    file: Option<Lockable>,
    /// Whether this session created it, and so may write it.
    made: bool,
}

impl Session {
    pub(crate) fn new(root: Arc<Root>) -> Self {
        Self {
            root,
            open: HashMap::new(),
        }
    }

    /// Forgets open folders, so that they are opened again: they may have been replaced since the
    /// last run.
    pub(crate) fn begin_run(&mut self) {
        for open in self.open.values_mut() {
            open.folder = None;
        }
    }

    /// Whether every document of a journal is still what was checked; called immediately before the
    /// journal is committed.
    fn all_are(&self, journal: &Journal, over: &[Option<Identity>]) -> Result<bool> {
        for (member, over) in journal.members.iter().zip(over) {
            let place = &member.place;
            let open = self.open.get(place);
            let open = open.ok_or_else(|| out_of_order(&path_of(&self.root, place)))?;
            if !is_still(&self.root, place, open, *over)? {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Performs one action on one document.
    pub(crate) fn perform(&mut self, place: &Place, action: &FileAction) -> Result<Got> {
        let got = self.act(place, action)?;
        if matches!(got, Got::Missing | Got::Torn)
            && let Some(open) = self.open.get_mut(place)
        {
            // The folder may have been replaced together with the file: open it again for the next
            // look.
            open.folder = None;
        }
        Ok(got)
    }

    fn act(&mut self, place: &Place, action: &FileAction) -> Result<Got> {
        if let FileAction::WriteJournal { journal, over } = action
            && !self.all_are(journal, over)?
        {
            return Ok(Got::Torn);
        }
        let open = self.open.entry(place.clone()).or_default();
        if open.folder.is_none() {
            open.folder = self.root.folder(&place.folder)?;
        }
        match action {
            FileAction::MakeFolder => return make_folder(&self.root, place, open),
            FileAction::SyncRoot => return sync(&self.root.dir, &self.root.path),
            FileAction::LookAtFolder => return look_at(&self.root, place, open),
            _ => {}
        }
        let Some(dir) = &open.folder else {
            return without_folder(&self.root, place, action);
        };
        let folder_path = self.root.path.join(&*place.folder);
        let path = folder_path.join(&*place.file);
        let file = &*place.file;
        match action {
            FileAction::Stat if self.root.network => read::stat_open(dir, &path, file),
            FileAction::Stat => read::stat(dir, &path, file),
            FileAction::Read => read::read(dir, &path, file, &self.root),
            FileAction::PeekSidecar => sidecar::peek(dir, file)
                .map(|content| Got::Sidecar(content.unwrap_or_default()))
                .map_err(|e| io_error(&path, "read the sidecar of", e)),
            FileAction::LockSidecar if open.held => {
                // Locking by another descriptor would wait for this one forever.
                let sidecar = own_sidecar(&self.root, place, open)?;
                sidecar::read(sidecar)
                    .map(Got::Sidecar)
                    .map_err(|e| io_error(&path, "read the sidecar of", e))
            }
            FileAction::LockSidecar => {
                let locked = sidecar::try_lock(dir, file)
                    .map_err(|e| io_error(&path, "lock the sidecar of", e))?;
                let Some(locked) = locked else {
                    return Ok(Got::Busy);
                };
                let content = sidecar::read(&locked)
                    .map_err(|e| io_error(&path, "read the sidecar of", e))?;
                open.sidecar = Some(locked);
                Ok(Got::Sidecar(content))
            }
            FileAction::HoldSidecar => {
                open.sidecar.as_ref().ok_or_else(|| out_of_order(&path))?;
                open.held = true;
                Ok(Got::Nothing)
            }
            FileAction::WriteSidecar(content) => {
                let sidecar = open.sidecar.as_ref().ok_or_else(|| out_of_order(&path))?;
                step(
                    &path,
                    "write the sidecar of",
                    sidecar::write(sidecar, content),
                )
            }
            FileAction::SyncSidecar => {
                let sidecar = open.sidecar.as_ref().ok_or_else(|| out_of_order(&path))?;
                step(&path, "sync the sidecar of", sidecar.sync_all())
            }
            FileAction::UnlockSidecar => {
                if !open.held {
                    open.sidecar = None;
                }
                Ok(Got::Nothing)
            }
            FileAction::WriteTemp(bytes) => {
                read::too_large(&path, bytes.len() as u64, self.root.max_bytes)?;
                // An earlier temporary file is left to the next sweep.
                open.temp = None;
                let temp = folder::document(dir, file)
                    .map_err(io::Error::from)
                    .and_then(|like| Temp::write(dir, file, like.as_ref(), bytes, &path))
                    .map_err(|e| obstacle::explain(e, dir, file))
                    .map_err(|e| io_error(&path, "write a temporary file beside", e))?;
                let Some(temp) = temp else {
                    return Ok(Got::Busy);
                };
                let token = temp.token.clone();
                open.temp = Some(temp);
                Ok(Got::Temp(token))
            }
            FileAction::StampTemp { mtime_ns } => held(&path, &open.temp)?
                .set_mtime(*mtime_ns)
                .map(|stamp| Got::Stamp(Some(stamp)))
                .map_err(|e| io_error(&path, "set the time of the temporary file beside", e)),
            FileAction::SyncTemp => {
                let temp = held(&path, &open.temp)?;
                step(&path, "sync the temporary file beside", temp.sync())
            }
            FileAction::DiscardTemp => {
                let Some(temp) = open.temp.take() else {
                    return Ok(Got::Nothing);
                };
                let done = temp.discard(dir).map_err(io::Error::from);
                step(&path, "remove the temporary file beside", done)
            }
            FileAction::AskRename => step(&path, "replace", obstacle::ask(dir, file)),
            FileAction::Rename { over } => {
                let temp = held(&path, &open.temp)?;
                if !is_still(&self.root, place, open, *over)? {
                    return Ok(Got::Torn);
                }
                let done = temp.rename(dir, file);
                if done.is_ok() {
                    open.temp = None;
                }
                let done = done.map_err(|e| obstacle::explain(e, dir, file));
                step(&path, "rename the temporary file to", done)
            }
            FileAction::Unlink { over } => {
                if !is_still(&self.root, place, open, *over)? {
                    return Ok(Got::Torn);
                }
                let done = folder::unlink_at(dir, file);
                let done = done.map_err(|e| obstacle::explain(e.into(), dir, file));
                step(&path, "delete", done)
            }
            FileAction::SyncFolder => sync(dir, &folder_path),
            FileAction::StatLeft { token } => Temp::left(dir, file, token)
                .and_then(|temp| temp.as_ref().map(Temp::stamp).transpose())
                .map(Got::Stamp)
                .map_err(|e| io_error(&path, "look at a temporary file beside", e)),
            FileAction::RenameLeft { token, over } => {
                if !is_still(&self.root, place, open, *over)? {
                    return Ok(Got::Torn);
                }
                let done = Temp::left(dir, file, token).and_then(|temp| match temp {
                    Some(temp) => temp.rename(dir, file),
                    None => Err(io::ErrorKind::NotFound.into()),
                });
                let done = done.map_err(|e| obstacle::explain(e, dir, file));
                step(&path, "rename a temporary file to", done)
            }
            FileAction::DiscardLeft { token } => {
                own_sidecar(&self.root, place, open)?;
                let done = Temp::left(dir, file, token).and_then(|temp| match temp {
                    Some(temp) => temp.discard(dir).map_err(io::Error::from),
                    None => Ok(()),
                });
                step(&path, "remove a temporary file beside", done)
            }
            FileAction::Sweep => temp::sweep(dir, &folder_path, file).map(|()| Got::Nothing),
            FileAction::MakeJournal
            | FileAction::WriteJournal { .. }
            | FileAction::SyncJournal
            | FileAction::ReadJournal
            | FileAction::LockJournal
            | FileAction::RemoveJournal
            | FileAction::ListJournals => {
                act_on_journal(dir, &path, file, &mut open.journal, action)
            }
            FileAction::MakeFolder | FileAction::SyncRoot | FileAction::LookAtFolder => {
                Err(out_of_order(&path))
            }
        }
    }
}

/// The sidecar whose OS lock is held.
///
/// # Errors
///
/// Its path leads elsewhere: the next writer locks a different file, and may have done so already.
fn own_sidecar<'a>(root: &Root, place: &Place, open: &'a Open) -> Result<&'a Lockable> {
    let sidecar = open
        .sidecar
        .as_ref()
        .ok_or_else(|| out_of_order(&path_of(root, place)))?;
    let name = sidecar::name(&place.file);
    if root.leads_to(&place.folder, &name, sidecar) || cfg!(cachetx_without_last_look) {
        return Ok(sidecar);
    }
    Err(Error::new(Kind::LockLost {
        document: path_of(root, place).display().to_string(),
        why: "the sidecar whose OS lock it is, or the run folder, was removed or replaced",
    }))
}

/// The last check before a document is replaced or deleted: whether it is still what was checked.
fn is_still(root: &Root, place: &Place, open: &Open, over: Option<Identity>) -> Result<bool> {
    own_sidecar(root, place, open)?;
    let (Some(dir), path) = (&open.folder, path_of(root, place)) else {
        return Ok(false);
    };
    let now = match root.network {
        true => read::stat_open(dir, &path, &place.file)?,
        false => read::stat(dir, &path, &place.file)?,
    };
    Ok(now == Got::Identity(over) || cfg!(cachetx_without_last_look))
}

fn act_on_journal(
    dir: &File,
    path: &Path,
    name: &str,
    open: &mut OpenJournal,
    action: &FileAction,
) -> Result<Got> {
    match (action, &open.file) {
        (FileAction::MakeJournal, _) => {
            let made = journal::make(dir, name);
            open.file = made.map_err(|e| io_error(path, "make the journal", e))?;
            open.made = open.file.is_some();
            Ok(busy_unless(open.made))
        }
        (FileAction::WriteJournal { journal, .. }, Some(file)) if open.made => {
            let done = journal::write(dir, name, file, journal);
            step(path, "write the journal", done)
        }
        (FileAction::SyncJournal, Some(file)) => step(path, "sync the journal", file.sync_all()),
        (FileAction::ReadJournal, _) => {
            let failed = |e| io_error(path, "read the journal", e);
            let Some(file) = journal::open(dir, name, OFlags::RDONLY).map_err(failed)? else {
                return Ok(Got::Missing);
            };
            let content = journal::read(&file).map_err(failed)?;
            // If the journal is locked, it stays locked.
            open.file.get_or_insert(file.into());
            Ok(Got::Journal(content))
        }
        (FileAction::LockJournal, _) => {
            let failed = |e| io_error(path, "lock the journal", e);
            let Some(file) = journal::open(dir, name, OFlags::RDWR).map_err(failed)? else {
                return Ok(Got::Missing);
            };
            open.file = journal::try_lock(dir, name, file).map_err(failed)?;
            open.made = false;
            Ok(busy_unless(open.file.is_some()))
        }
        (FileAction::RemoveJournal, _) => {
            step(path, "remove the journal", journal::remove(dir, name))
        }
        (FileAction::ListJournals, _) => journal::list(dir, path).map(Got::Journals),
        _ => Err(out_of_order(path)),
    }
}

fn busy_unless(done: bool) -> Got {
    if done { Got::Nothing } else { Got::Busy }
}

fn step(path: &Path, action: &'static str, done: io::Result<()>) -> Result<Got> {
    done.map(|()| Got::Nothing)
        .map_err(|e| io_error(path, action, e))
}

fn sync(dir: &File, path: &Path) -> Result<Got> {
    match folder::sync(dir, path) {
        Ok(Names::Durable) => Ok(Got::Nothing),
        Ok(Names::NotSyncable) => Ok(Got::NotSyncable),
        Err(e) => Err(io_error(path, "sync the folder", e)),
    }
}

fn held<'a>(path: &Path, temp: &'a Option<Temp>) -> Result<&'a Temp> {
    temp.as_ref().ok_or_else(|| out_of_order(path))
}

/// A protocol asked for a step without the step that must come first.
fn out_of_order(path: &Path) -> Error {
    io_error(path, "go on with", io::Error::other("steps out of order"))
}

fn path_of(root: &Root, place: &Place) -> PathBuf {
    root.path.join(&*place.folder).join(&*place.file)
}

fn look_at(root: &Root, place: &Place, open: &Open) -> Result<Got> {
    let Some(dir) = &open.folder else {
        return Ok(Got::Folder(Folder::Missing));
    };
    match folder::stat_at(dir, READ_ONLY_MARKER) {
        Ok(None) => Ok(Got::Folder(Folder::Writable)),
        Ok(Some(_)) => Ok(Got::Folder(Folder::ReadOnly)),
        Err(e) => Err(io_error(
            &root.path.join(&*place.folder),
            "look for the READONLY marker in",
            e.into(),
        )),
    }
}

fn make_folder(root: &Root, place: &Place, open: &mut Open) -> Result<Got> {
    let path = root.path.join(&*place.folder);
    let mode = Mode::from_raw_mode(0o777);
    let made = retry_on_intr(|| rustix::fs::mkdirat(&root.dir, &*place.folder, mode));
    let made = match made {
        Ok(()) => true,
        Err(Errno::EXIST) => false,
        Err(e) => return Err(io_error(&path, "make the folder", e.into())),
    };
    open.folder = root.folder(&place.folder)?;
    if let (true, Some(dir)) = (made, &open.folder) {
        rights::share(dir, &root.dir);
    }
    Ok(Got::Nothing)
}

/// The answers to reading actions if the folder itself is missing; the other actions fail.
fn without_folder(root: &Root, place: &Place, action: &FileAction) -> Result<Got> {
    match action {
        FileAction::Stat => Ok(Got::Identity(None)),
        FileAction::Read => Ok(Got::Missing),
        FileAction::PeekSidecar => Ok(Got::Sidecar(super::Sidecar::default())),
        FileAction::DiscardTemp
        | FileAction::UnlockSidecar
        | FileAction::Sweep
        | FileAction::RemoveJournal => Ok(Got::Nothing),
        FileAction::ReadJournal | FileAction::LockJournal => Ok(Got::Missing),
        FileAction::ListJournals => Ok(Got::Journals(Vec::new())),
        _ => Err(Error::new(Kind::NotFound {
            document: path_of(root, place).display().to_string(),
        })),
    }
}
