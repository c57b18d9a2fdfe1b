//! Which run of which server is meant: a server that was started again, or replaced, may have an older memory.

use std::{ops::RangeInclusive, sync::Arc};

/// Names a server from its start to its end: by its own random name (`run_id`), else by a name that this process gives it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct RunId(Arc<str>);

impl RunId {
    pub(crate) fn told(name: &str) -> Self {
        Self(name.into())
    }

    /// Of a server that does not tell its name. `number` is new with each connection that was made in place of a failed one:
    /// the server may have been started again in between.
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
    /// It may not be asked.
    Untold,
}

/// Which server has the keys of which hash slots, as it was found at one moment.
#[derive(Clone, Debug, Default)]
pub(crate) struct Servers {
    /// The first that has a slot counts.
    served: Vec<(RangeInclusive<u16>, RunId)>,
    /// Whether all of them have answered.
    pub(crate) complete: bool,
}

impl Servers {
    pub(crate) fn new(served: Vec<(RangeInclusive<u16>, RunId)>, complete: bool) -> Self {
        Self { served, complete }
    }

    /// One that has all keys.
    #[cfg(test)]
    pub(crate) fn one(run: RunId) -> Self {
        Self::new(vec![(0..=crate::model::limits::SLOTS - 1, run)], true)
    }

    /// Who has the slot; `None` where that one did not answer.
    pub(crate) fn of(&self, slot: u16) -> Option<&RunId> {
        let mut served = self.served.iter();
        served
            .find(|(slots, _)| slots.contains(&slot))
            .map(|it| &it.1)
    }

    pub(crate) fn has(&self, run: &RunId) -> bool {
        self.served.iter().any(|(_, served)| served == run)
    }

    /// Whether nobody was found, or looked for yet.
    pub(crate) fn is_empty(&self) -> bool {
        self.served.is_empty()
    }
}
