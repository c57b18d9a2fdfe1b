//! Credentials for a server, and the closure that provides them.

use crate::model::BoxError;
use std::{fmt, panic, sync::Arc};

/// A user and a password, or a password alone.
///
/// # Examples
///
/// ```
/// use cachetx::Credentials;
///
/// let login = Credentials::new("alice", "secret");
/// assert!(!format!("{login:?}").contains("secret"));
/// ```
#[derive(Clone, PartialEq, Eq)]
pub struct Credentials {
    pub(super) user: Option<String>,
    pub(super) password: String,
}

impl Credentials {
    /// A user of the server's ACL.
    pub fn new(user: impl Into<String>, password: impl Into<String>) -> Self {
        Self {
            user: Some(user.into()),
            password: password.into(),
        }
    }

    /// The default user (`requirepass`).
    pub fn password(password: impl Into<String>) -> Self {
        Self {
            user: None,
            password: password.into(),
        }
    }
}

/// Names the user, never the password.
impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Credentials")
            .field("user", &self.user)
            .finish_non_exhaustive()
    }
}

/// A caller's closure that returns the current credentials.
#[derive(Clone)]
pub(crate) struct CredentialsSource(Arc<Ask>);

type Ask = dyn Fn() -> Result<Credentials, BoxError> + Send + Sync;

impl CredentialsSource {
    pub(crate) fn new(
        ask: impl Fn() -> Result<Credentials, BoxError> + Send + Sync + 'static,
    ) -> Self {
        Self(Arc::new(ask))
    }

    /// A panic counts as a failure: this may run in a thread that others rely on.
    pub(super) fn ask(&self) -> Result<Credentials, String> {
        match panic::catch_unwind(panic::AssertUnwindSafe(|| (self.0)())) {
            Ok(Ok(credentials)) => Ok(credentials),
            Ok(Err(e)) => Err(e.to_string()),
            Err(_) => Err("it panicked".to_owned()),
        }
    }
}

impl fmt::Debug for CredentialsSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("CredentialsSource")
    }
}
