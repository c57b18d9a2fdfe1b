//! Bounds on the search for the server that takes an operation.

use crate::{engine::net::Net, model::limits, op::Fault};
use backon::{BackoffBuilder as _, ExponentialBackoff, ExponentialBuilder};
use std::{
    hash::{BuildHasher as _, RandomState},
    time::{Duration, Instant},
};

/// Counts redirects and measures time, from the first server that did not take the operation.
pub(super) struct Search {
    patience: Duration,
    waits: Option<(Instant, ExponentialBackoff)>,
    redirects: u32,
    /// A server that did not answer may have done the work.
    maybe_done: bool,
}

impl Search {
    pub(super) fn new(patience: Duration) -> Self {
        Self {
            patience,
            waits: None,
            redirects: 0,
            maybe_done: false,
        }
    }

    /// Call it before asking another server. Returns at once, unless there were too many redirects:
    /// servers that redirect in a circle need time to settle.
    pub(super) async fn redirected(&mut self, net: Net, fault: Fault) -> Result<(), Fault> {
        self.redirects += 1;
        if self.redirects > limits::MAX_REDIRECTS {
            return self.unsettled(net, fault).await;
        }
        self.note(&fault);
        Ok(())
    }

    /// Pauses; returns the fault if no time is left.
    pub(super) async fn unsettled(&mut self, net: Net, fault: Fault) -> Result<(), Fault> {
        self.redirects = 0;
        let patience = self.patience;
        let (until, pauses) = self
            .waits
            .get_or_insert_with(|| (Instant::now() + patience, pauses()));
        let left = until.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Err(self.end(fault));
        }
        let pause = pauses.next().unwrap_or(limits::SETTLE_POLL_MAX);
        net.sleep(pause.min(left)).await;
        self.note(&fault);
        Ok(())
    }

    /// The fault for the caller: "not done" only if no server may have done it.
    pub(super) fn end(&self, fault: Fault) -> Fault {
        fault.after(self.maybe_done)
    }

    fn note(&mut self, fault: &Fault) {
        self.maybe_done |= fault.is_unknown();
    }
}

pub(super) fn pauses() -> ExponentialBackoff {
    ExponentialBuilder::new()
        .with_min_delay(limits::SETTLE_POLL_MIN)
        .with_max_delay(limits::SETTLE_POLL_MAX)
        .with_factor(2.0)
        .with_jitter()
        // Clients that lost the same server must not all come back at once.
        .with_jitter_seed(RandomState::new().hash_one(0))
        .without_max_times()
        .build()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        engine::net::now,
        model::{Error, error::Kind},
    };

    const NET: Net = Net::Threads;

    fn fault() -> Fault {
        Fault::NotDone(Error::new(Kind::Internal("x".to_owned())))
    }

    fn unknown() -> Fault {
        Fault::Unknown(fault().into_error())
    }

    #[test]
    fn redirects_are_bounded_where_there_is_no_time() {
        let mut search = Search::new(Duration::ZERO);
        for _ in 0..limits::MAX_REDIRECTS {
            now(search.redirected(NET, fault())).unwrap();
        }
        assert!(matches!(
            now(search.redirected(NET, fault())),
            Err(Fault::NotDone(_))
        ));
        assert!(matches!(
            now(search.unsettled(NET, fault())),
            Err(Fault::NotDone(_))
        ));
    }

    #[test]
    fn pauses_end_with_the_patience() {
        let mut search = Search::new(Duration::from_millis(20));
        let ended = (0..10_000).find_map(|_| now(search.unsettled(NET, fault())).err());
        assert!(matches!(ended, Some(Fault::NotDone(_))));
    }

    #[test]
    fn what_may_have_been_done_once_stays_unknown() {
        let mut search = Search::new(Duration::ZERO);
        now(search.redirected(NET, unknown())).unwrap();
        assert!(matches!(search.end(fault()), Fault::Unknown(_)));
        assert!(matches!(
            now(search.unsettled(NET, fault())),
            Err(Fault::Unknown(_))
        ));
    }
}
