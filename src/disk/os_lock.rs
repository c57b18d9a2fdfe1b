//! OS locks on files: `flock`.

use rustix::{
    fs::{FlockOperation, flock},
    io::{Errno, retry_on_intr},
};
use std::{fs::File, io, ops::Deref};

/// A file whose OS lock is released on drop.
///
/// Closing alone is not enough: a child process that this program has just started shares the open
/// file until its `exec`, and would keep the lock until then.
#[derive(Debug)]
pub(super) struct Lockable(File);

impl Lockable {
    /// Takes the lock; `false` if another open file has it.
    pub(super) fn try_lock(&self) -> io::Result<bool> {
        run(&self.0, FlockOperation::NonBlockingLockExclusive)
    }
}

impl From<File> for Lockable {
    fn from(file: File) -> Self {
        Self(file)
    }
}

impl Deref for Lockable {
    type Target = File;

    fn deref(&self) -> &File {
        &self.0
    }
}

impl Drop for Lockable {
    fn drop(&mut self) {
        // Does nothing if there is no lock. If unlocking fails, the close releases it.
        let _ = retry_on_intr(|| flock(&self.0, FlockOperation::Unlock));
    }
}

/// Takes a shared lock until the file is closed; `false` if another open file has an exclusive one.
pub(super) fn try_lock_shared(file: &File) -> io::Result<bool> {
    run(file, FlockOperation::NonBlockingLockShared)
}

fn run(file: &File, operation: FlockOperation) -> io::Result<bool> {
    match retry_on_intr(|| flock(file, operation)) {
        Ok(()) => Ok(true),
        Err(Errno::WOULDBLOCK) => Ok(false),
        Err(e) => Err(e.into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A second descriptor of the same open file, as a child process has between `fork` and `exec`.
    #[test]
    fn a_lock_ends_with_its_owner_whoever_else_has_the_open_file() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let owner = Lockable::from(file.reopen().unwrap());
        assert!(owner.try_lock().unwrap());
        let _child_s = owner.try_clone().unwrap();
        let next = Lockable::from(file.reopen().unwrap());
        assert!(!next.try_lock().unwrap());
        drop(owner);
        assert!(next.try_lock().unwrap());
    }
}
