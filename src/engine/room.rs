//! How big a value the server takes. One that is too big is refused here: the server would close
//! the connection in the middle of the value.

use super::failure::Failure;
use crate::{
    model::{Bytes, Error, error::Kind, limits},
    op::Op,
};

/// The server's own limits, in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Room {
    /// `proto-max-bulk-len`.
    pub(super) bulk: u64,
    /// `client-query-buffer-limit`: all that a client has sent and the server has not yet
    /// processed.
    pub(super) query: u64,
}

impl Default for Room {
    /// The servers' defaults.
    fn default() -> Self {
        Self {
            bulk: limits::SERVER_BULK_BYTES,
            query: limits::SERVER_QUERY_BYTES,
        }
    }
}

impl Room {
    /// Refuses, before anything is sent, what the server cannot take.
    pub(super) fn check(self, op: &Op) -> Result<(), Failure> {
        let values: Vec<(&str, &Bytes)> = match op {
            Op::Commit(op) => op
                .own
                .iter()
                .map(|own| (&*own.entry.value, &own.bytes))
                .collect(),
            Op::Fill(op) => vec![(&op.entry.value, &op.bytes)],
            _ => return Ok(()),
        };
        let mut sum = limits::REQUEST_FRAME_BYTES;
        for (key, bytes) in values {
            let len = bytes.len() as u64;
            sum += len;
            let (setting, most) = match len > self.bulk {
                true => ("proto-max-bulk-len", self.bulk),
                false if sum > self.query => ("client-query-buffer-limit", self.query),
                false => continue,
            };
            let message = format!(
                "`{key}` would be a value of {len} bytes, over the server's {setting} of {most}: it is not cached, unless that is raised"
            );
            return Err(Failure::Refused(Error::new(Kind::Server { message })));
        }
        Ok(())
    }
}
