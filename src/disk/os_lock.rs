//! OS locks of files: `flock`.

use rustix::{
    fs::{FlockOperation, flock},
    io::{Errno, retry_on_intr},
};
use std::{fs::File, io};

/// Takes the lock; `false` where somebody else has it. It ends with the file.
pub(super) fn try_lock(file: &File) -> io::Result<bool> {
    match retry_on_intr(|| flock(file, FlockOperation::NonBlockingLockExclusive)) {
        Ok(()) => Ok(true),
        Err(Errno::WOULDBLOCK) => Ok(false),
        Err(e) => Err(e.into()),
    }
}
