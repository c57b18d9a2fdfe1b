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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        disk::{Got, Sidecar},
        limits,
        op::{Fault, Stamp},
        protocol::run::{Answer, Now, Step},
    };

    const STAMP: Stamp = Stamp {
        mtime_ns: 5_000_000_000,
        size: 2,
        inode: 1,
    };

    /// Reads with these answers of the disk, at a time so long after the file's; what came out, and the actions.
    fn read_with(got: Vec<Got>, age_ns: i64) -> (Result<(Found, Source), Error>, Vec<String>) {
        let place = Place {
            folder: "run".into(),
            file: "climate.nodb".into(),
        };
        let entry = Entry {
            value: "value".to_owned(),
            leases: "leases".into(),
        };
        let mut run = read("run/climate".to_owned(), place, entry);
        let now = Now {
            wall_ns: STAMP.mtime_ns + age_ns,
            ..Now::default()
        };
        let (mut got, mut actions, mut answer) = (got.into_iter(), Vec::new(), None);
        loop {
            let action = match run.resume(answer.take(), now) {
                Step::Done(done) => return (done, actions),
                Step::Do(action) => action,
            };
            actions.push(action.name());
            answer = Some(match action.name().split('.').next() {
                Some("disk") => Answer::Disk(Ok(got.next().expect("no more answers"))),
                Some("server") => Answer::Server(Err(Fault::NotDone(Error::new(Kind::Internal(
                    "away".to_owned(),
                ))))),
                _ => Answer::Slept,
            });
        }
    }

    fn file() -> Got {
        Got::File(STAMP, b"{}".to_vec().into())
    }

    #[test]
    fn a_folder_that_went_stale_is_looked_into_again() {
        let stamp = Got::Stamp(Some(STAMP));
        let answers = vec![Got::Torn, Got::Torn, stamp, Got::Torn, file()];
        let (found, actions) = read_with(answers, limits::YOUNG_NS);
        assert!(found.is_ok_and(|(found, source)| found.settled && source == Source::File));
        assert_eq!(
            actions,
            [
                "disk.stat",
                "sleep",
                "disk.stat",
                "sleep",
                "disk.stat",
                "server.Read",
                "disk.read",
                "sleep",
                "disk.read"
            ]
        );
        let always = vec![Got::Torn; limits::READ_ATTEMPTS as usize];
        let (refused, actions) = read_with(always, 0);
        assert!(refused.is_err_and(|e| e.is_document()));
        assert_eq!(actions.len(), 2 * limits::READ_ATTEMPTS as usize);
    }

    #[test]
    fn a_file_is_settled_by_its_age_or_by_the_sidecar() {
        let settled = |age_ns, saved_ns| {
            let sidecar = Sidecar {
                fence: 1,
                mtime_ns: saved_ns,
            };
            let answers = vec![Got::Stamp(Some(STAMP)), file(), Got::Sidecar(sidecar)];
            let (found, actions) = read_with(answers, age_ns);
            let peeked = actions.iter().any(|it| it == "disk.peek-sidecar");
            (found.expect("read").0.settled, peeked)
        };
        assert_eq!(settled(limits::YOUNG_NS, 0), (true, false));
        assert_eq!(settled(limits::YOUNG_NS - 1, 0), (false, true));
        assert_eq!(settled(-limits::YOUNG_NS, 0), (false, true));
        assert_eq!(settled(0, STAMP.mtime_ns), (true, true));
        assert_eq!(settled(0, STAMP.mtime_ns + 1), (false, true));
    }

    #[test]
    fn a_document_that_is_not_there_costs_no_round_trip_and_a_few_looks() {
        let mut answers = vec![Got::Stamp(None)];
        answers.extend(vec![Got::Missing; limits::MISSING_ATTEMPTS as usize]);
        let (refused, actions) = read_with(answers, 0);
        assert!(refused.is_err_and(|e| e.is_not_found()));
        assert!(!actions.iter().any(|it| it == "server.Read"), "{actions:?}");
    }
}
