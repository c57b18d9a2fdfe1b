//! Runs server operations and heals what a server forgets; decides nothing.

use crate::op::{Fault, Op, Reply};

/// What runs an operation as one atomic step.
pub(crate) trait Engine: Send + Sync + 'static {
    /// Runs `op`. A lost reply is [`Fault::Unknown`], never "not done".
    fn perform(&self, op: &Op) -> Result<Reply, Fault>;
}
