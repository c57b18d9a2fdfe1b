//! Why something was refused, as a label.

use crate::model::Error;

/// Why a save or a lock was refused: an [`Error`]'s predicates as one word.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Reason {
    /// [`Error::is_conflict`]
    Conflict,
    /// [`Error::is_fenced`]
    Fenced,
    /// [`Error::is_lock_lost`]
    LockLost,
    /// [`Error::is_lock_held`]
    LockHeld,
    /// [`Error::is_read_only`]
    ReadOnly,
    /// [`Error::is_not_found`] or [`Error::is_already_exists`]
    Existence,
    /// [`Error::is_document`] or [`Error::is_too_large`]
    Content,
    /// [`Error::is_params`], [`Error::is_config`] or [`Error::is_cross_slot`]
    Usage,
    /// [`Error::is_busy`]
    Busy,
    /// [`Error::is_outbox`]
    Outbox,
    /// [`Error::is_io`]
    Io,
    /// [`Error::is_unavailable`]
    Unavailable,
    /// [`Error::is_server`] or [`Error::is_contended`]
    Server,
    /// Anything else.
    Other,
}

impl Reason {
    /// All of them.
    pub const ALL: &'static [Self] = &[
        Self::Conflict,
        Self::Fenced,
        Self::LockLost,
        Self::LockHeld,
        Self::ReadOnly,
        Self::Existence,
        Self::Content,
        Self::Usage,
        Self::Busy,
        Self::Outbox,
        Self::Io,
        Self::Unavailable,
        Self::Server,
        Self::Other,
    ];

    /// Classifies an error.
    ///
    /// # Examples
    ///
    /// ```
    /// use cachetx::{Rules, observe::Reason};
    ///
    /// let rules = Rules::from_path("rules/nodb.json")?;
    /// let error = rules.expand(["no_such_task"], &cachetx::Params::new()).unwrap_err();
    /// assert_eq!(Reason::of(&error).as_str(), "usage");
    /// # Ok::<(), cachetx::Error>(())
    /// ```
    #[must_use]
    pub fn of(error: &Error) -> Self {
        type Predicate = fn(&Error) -> bool;
        let predicates: [(Predicate, Self); 17] = [
            (Error::is_conflict, Self::Conflict),
            (Error::is_fenced, Self::Fenced),
            (Error::is_lock_lost, Self::LockLost),
            (Error::is_lock_held, Self::LockHeld),
            (Error::is_read_only, Self::ReadOnly),
            (Error::is_not_found, Self::Existence),
            (Error::is_already_exists, Self::Existence),
            (Error::is_document, Self::Content),
            (Error::is_too_large, Self::Content),
            (Error::is_params, Self::Usage),
            (Error::is_config, Self::Usage),
            (Error::is_cross_slot, Self::Usage),
            (Error::is_busy, Self::Busy),
            (Error::is_outbox, Self::Outbox),
            (Error::is_io, Self::Io),
            (Error::is_unavailable, Self::Unavailable),
            (|e| e.is_server() || e.is_contended(), Self::Server),
        ];
        let reason = predicates.into_iter().find(|(is, _)| is(error));
        reason.map_or(Self::Other, |(_, reason)| reason)
    }

    /// A stable name, for labels: `conflict`, `lock_lost`, …
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Conflict => "conflict",
            Self::Fenced => "fenced",
            Self::LockLost => "lock_lost",
            Self::LockHeld => "lock_held",
            Self::ReadOnly => "read_only",
            Self::Existence => "existence",
            Self::Content => "content",
            Self::Usage => "usage",
            Self::Busy => "busy",
            Self::Outbox => "outbox",
            Self::Io => "io",
            Self::Unavailable => "unavailable",
            Self::Server => "server",
            Self::Other => "other",
        }
    }
}
