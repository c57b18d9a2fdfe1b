//! Takes the place of TLS if the feature `tls` is off.

use super::socket::{Socket, Wire};
use crate::engine::TlsOptions;
use std::io;

pub(super) fn secured(_: Socket, _: &str, options: &TlsOptions) -> io::Result<Box<dyn Wire>> {
    check(options)?;
    Err(io::ErrorKind::Unsupported.into())
}

pub(super) fn check(_: &TlsOptions) -> io::Result<()> {
    Err(io::Error::new(
        io::ErrorKind::Unsupported,
        "TLS needs the feature `tls`",
    ))
}

pub(super) fn explained(e: &io::Error) -> io::Error {
    io::Error::new(e.kind(), e.to_string())
}
