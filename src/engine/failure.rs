//! Why a round trip failed.

use crate::model::{Effect, Error, error::Kind};

/// Why a round trip failed.
pub(super) enum Failure {
    /// The server answered with an error: nothing was done.
    Refused(Error),
    /// The server answered with an error that may have come after the first of several writes,
    /// whose effects stay.
    Midway(Error),
    /// No answer; the connection is unusable.
    Lost {
        error: Error,
        /// The server had closed it, as far as we can tell; not a time-out.
        closed: bool,
    },
}

/// A reply that no supported server gives; nothing else in the stream can be trusted.
pub(super) fn nonsense(why: &str) -> Failure {
    Failure::Lost {
        error: Error::with_effect(
            Kind::Server {
                message: format!("an answer that makes no sense: {why}"),
            },
            Effect::Unknown,
        ),
        closed: false,
    }
}
