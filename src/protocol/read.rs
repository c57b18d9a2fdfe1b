//! Reading a document: the server's copy where the file vouches for it, else the file.

use super::run::Run;
use crate::{
    Error,
    disk::Place,
    error::Kind,
    op::{Bytes, Entry, Read, ReadReply, stamp::vouches},
};

/// Where the bytes came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Source {
    /// The server's copy, with the file's stamp and a digest that fits.
    Server,
    File,
}

pub(crate) fn read(document: String, place: Place, entry: Entry) -> Run<(Bytes, Source)> {
    Run::new(|io| async move {
        let missing = || {
            Error::new(Kind::NotFound {
                document: document.clone(),
            })
        };
        let stamp = io.stat(&place).await?.ok_or_else(missing)?;
        match io.server(Read { entry }).await {
            Ok(ReadReply::Found {
                voucher: Some(voucher),
                value: Some(value),
            }) if vouches(&voucher, &stamp, &value) => return Ok((value.into(), Source::Server)),
            Ok(_) => {}
            Err(fault) => log::debug!("{document}: read from the file: {}", fault.into_error()),
        }
        let (_, bytes) = io.read_file(&place).await?.ok_or_else(missing)?;
        Ok((bytes, Source::File))
    })
}

/// Whether there is a document.
pub(crate) fn exists(place: Place) -> Run<bool> {
    Run::new(|io| async move { Ok(io.stat(&place).await?.is_some()) })
}
