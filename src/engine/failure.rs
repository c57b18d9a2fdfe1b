//! Why a round trip gave nothing.

use crate::model::{Effect, Error, error::Kind};

/// Why a round trip gave nothing.
pub(super) enum Failure {
    /// The server answered with an error: nothing was done.
    Refused(Error),
    /// The server answered with an error that may have come after the first of several writes: what was written stays.
    Midway(Error),
    /// No answer, and the connection is of no use any more.
    Lost {
        error: Error,
        /// The server had closed it, as far as can be told; not a time-out.
        closed: bool,
    },
}

/// A reply that no server of ours gives; whatever else is in the stream cannot be trusted.
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
