//! Identifies a server's run: a server that was restarted or replaced may have older data.

use std::{ops::RangeInclusive, sync::Arc};

/// Identifies a server from its start to its end: by its own random name (`run_id`), or else by a
/// name that this process gives it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct RunId(Arc<str>);

impl RunId {
    pub(crate) fn told(name: &str) -> Self {
        Self(name.into())
    }

    /// For a server that does not tell its name. `number` is new for each connection that replaces
    /// a failed one, since the server may have been restarted in between.
    pub(super) fn untold(number: u64) -> Self {
        Self(format!("#{number}").into())
    }
}

/// Whether a connection's server was asked for its name.
#[derive(Clone, Debug, Default)]
pub(super) enum Identity {
    #[default]
    Unasked,
    Told(RunId),
    /// The server does not allow the question.
    Untold,
}

/// Which server has the keys of which hash slots, as found at one moment.
#[derive(Clone, Debug, Default)]
pub(crate) struct Servers {
    /// If several name a slot, the first one counts.
    served: Vec<(RangeInclusive<u16>, RunId)>,
    /// Whether all servers answered.
    pub(crate) complete: bool,
}

impl Servers {
    pub(crate) fn new(served: Vec<(RangeInclusive<u16>, RunId)>, complete: bool) -> Self {
        Self { served, complete }
    }

    /// One server that has all keys.
    #[cfg(test)]
    pub(crate) fn one(run: RunId) -> Self {
        Self::new(vec![(0..=crate::model::limits::SLOTS - 1, run)], true)
    }

    /// The server that has the slot; `None` if it did not answer.
    pub(crate) fn of(&self, slot: u16) -> Option<&RunId> {
        let mut served = self.served.iter();
        served
            .find(|(slots, _)| slots.contains(&slot))
            .map(|it| &it.1)
    }

    pub(crate) fn has(&self, run: &RunId) -> bool {
        self.served.iter().any(|(_, served)| served == run)
    }

    /// Whether no server was found, or none was looked for yet.
    pub(crate) fn is_empty(&self) -> bool {
        self.served.is_empty()
    }
}
