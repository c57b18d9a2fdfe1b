//! Reading a document: the server's copy where the file vouches for it, else the file.

use super::{
    files::{Found, Missing},
    run::Run,
};
use crate::{
    Error,
    disk::Place,
    error::Kind,
    op::{Entry, Read, ReadReply, stamp::vouches},
};

/// Where the bytes came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Source {
    /// The server's copy, with the file's stamp and a digest that fits.
    Server,
    File,
}

pub(crate) fn read(document: String, place: Place, entry: Entry) -> Run<(Found, Source)> {
    Run::new(|io| async move {
        if let Some(stamp) = io.stat(&place).await? {
            match io.server(Read { entry }).await {
                Ok(ReadReply::Found {
                    voucher: Some(voucher),
                    value: Some(value),
                }) if vouches(&voucher, &stamp, &value) => {
                    let found = Found {
                        stamp,
                        bytes: value.into(),
                        // By the commit that put the voucher there.
                        settled: true,
                    };
                    return Ok((found, Source::Server));
                }
                Ok(_) => {}
                Err(fault) => log::debug!("{document}: read from the file: {}", fault.into_error()),
            }
        }
        match io.read_file(&place, Missing::Brief).await? {
            Some(found) => Ok((found, Source::File)),
            None => Err(Error::new(Kind::NotFound { document })),
        }
    })
}

/// Whether there is a document.
pub(crate) fn exists(place: Place) -> Run<bool> {
    Run::new(|io| async move { Ok(io.stat(&place).await?.is_some()) })
}
