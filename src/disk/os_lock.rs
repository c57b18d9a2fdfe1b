//! OS locks of files: `flock`.

use rustix::{
    fs::{FlockOperation, flock},
    io::{Errno, retry_on_intr},
};
use std::{fs::File, io};

/// Takes the lock; `false` where somebody else has it. It ends with the file.
pub(super) fn try_lock(file: &File) -> io::Result<bool> {
    run(file, FlockOperation::NonBlockingLockExclusive)
}

/// The same beside others that share it.
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
