use crate::model::{Error, Result};
use std::fmt;

/// A save that failed before it changed anything: the error, and the guard `G` back. Its locks are still held, so the data is not lost and
/// the save may be tried again; dropping it, or turning it into an [`Error`] with `?`, lets them go.
///
/// Without a guard it is a save whose runtime shut down meanwhile, and [`Error::effect`] says that it may have been made.
pub struct Unsaved<G>(Box<(Error, Option<G>)>);

impl<G> Unsaved<G> {
    /// What a task has come to.
    pub(super) fn or<R, E>(
        done: Result<Result<R, E>>,
        into_parts: impl FnOnce(E) -> (Error, G),
    ) -> Result<R, Self> {
        let (error, guard) = match done {
            Ok(Ok(done)) => return Ok(done),
            Ok(Err(failed)) => {
                let (error, guard) = into_parts(failed);
                (error, Some(guard))
            }
            Err(gone) => (gone, None),
        };
        Err(Self(Box::new((error, guard))))
    }

    /// Why it failed.
    #[must_use]
    pub fn error(&self) -> &Error {
        &self.0.0
    }

    /// The guard, to try again; `None` where the runtime shut down meanwhile.
    pub fn into_guard(self) -> Option<G> {
        self.0.1
    }

    /// The error, and the guard as [`into_guard`](Self::into_guard) gives it.
    pub fn into_parts(self) -> (Error, Option<G>) {
        *self.0
    }
}

impl<G> fmt::Debug for Unsaved<G> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self.error(), f)
    }
}

impl<G> fmt::Display for Unsaved<G> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self.error(), f)
    }
}

impl<G> std::error::Error for Unsaved<G> {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.error().source()
    }
}

/// Keeps the error and lets the locks go.
impl<G> From<Unsaved<G>> for Error {
    fn from(failed: Unsaved<G>) -> Self {
        failed.0.0
    }
}
