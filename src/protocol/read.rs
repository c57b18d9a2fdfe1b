//! Reading a document: the server's copy where the file vouches for it, else the file.

use super::{
    files::{Found, Missing},
    load,
    lock::millis,
    run::{Io, Run},
    tries::Tries,
};
use crate::{
    Error,
    disk::Place,
    error::Kind,
    limits,
    op::{Bytes, Entry, Fault, Lease, LeaseReply, Read, ReadReply, Stamp, stamp::vouches},
};
use std::time::Duration;

/// Where the bytes came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Source {
    /// The server's copy, with the file's stamp and a digest that fits.
    Server,
    File,
}

/// What a reader brings along.
#[derive(Clone, Debug)]
pub(crate) struct Reader {
    /// For messages.
    pub(crate) document: String,
    pub(crate) place: Place,
    pub(crate) entry: Entry,
    /// The entry's life.
    pub(crate) ttl: Duration,
    /// 128 random bits in hex: its lease's.
    pub(crate) token: String,
    pub(crate) lease_ttl: Duration,
    /// How long after its first try a request without an answer may be made again.
    pub(crate) patience: Duration,
}

/// What the server has to say.
enum Sought {
    Found(Bytes),
    /// The entry is not there, and this reader may fill it, with this token.
    Leased(String),
    Nothing,
}

/// Two round trips at most: the lease, which gives the entry where that is there, and the fill.
pub(crate) fn read(reader: Reader) -> Run<(Found, Source)> {
    Run::new(|io| async move {
        let mut leased = None;
        io.finish_what_died(&reader.place).await;
        if let Some(stamp) = io.stat(&reader.place).await? {
            match ask(&io, &reader, stamp).await {
                Sought::Found(bytes) => {
                    let found = Found {
                        stamp,
                        bytes,
                        // By the commit, or the settled read, that put the voucher there.
                        settled: true,
                    };
                    return Ok((found, Source::Server));
                }
                Sought::Leased(token) => leased = Some(token),
                Sought::Nothing => {}
            }
        }
        let found = io.read_file(&reader.place, Missing::Brief).await;
        if let Some(token) = leased {
            let read = found.as_ref().ok().and_then(Option::as_ref);
            end_lease(&io, &reader, token, read).await;
        }
        match found? {
            Some(found) => Ok((found, Source::File)),
            None => Err(Error::new(Kind::NotFound {
                document: reader.document,
            })),
        }
    })
}

async fn ask(io: &Io, reader: &Reader, stamp: Stamp) -> Sought {
    // What is read of a young file may be not fit to be filled, so no lease is asked for.
    if io.now().wall_ns.saturating_sub(stamp.mtime_ns) < limits::YOUNG_NS {
        return look(io, reader, stamp).await;
    }
    let (mut refused, mut unfit) = (None, 0);
    let mut tries = Tries::new(reader.patience);
    while unfit < limits::UNFIT_ATTEMPTS {
        tries.begin(io);
        let token = tries.name(&reader.token);
        let asked = Lease {
            entry: reader.entry.clone(),
            token: token.clone(),
            ttl_ms: millis(reader.lease_ttl),
            wanted: Some(stamp),
            refused: refused.take(),
        };
        match io.server(asked).await {
            Ok(LeaseReply::Present { voucher, value }) if vouches(&voucher, &stamp, &value) => {
                return Sought::Found(value.into());
            }
            // A foreign program has set the value alone.
            Ok(LeaseReply::Present { voucher, .. }) => {
                refused = Some(voucher);
                unfit += 1;
            }
            Ok(LeaseReply::Leased) => return Sought::Leased(token),
            // The file is at hand, so nobody is waited for; it is newer than the one that was looked at, too.
            Ok(LeaseReply::Busy { .. } | LeaseReply::Newer) => return Sought::Nothing,
            Err(Fault::Unknown(e)) => {
                load::renounce(io, reader.entry.clone(), token, &e).await;
                if !tries.again(io).await {
                    return Sought::Nothing;
                }
            }
            // A full server gives no lease, nor does one on which this user may not write: but there may be an entry.
            Err(Fault::NotDone(e)) if e.takes_reads() => return look(io, reader, stamp).await,
            Err(Fault::NotDone(e)) => {
                log::debug!("{}: read from the file: {e}", reader.document);
                return Sought::Nothing;
            }
        }
    }
    Sought::Nothing
}

async fn look(io: &Io, reader: &Reader, stamp: Stamp) -> Sought {
    let asked = Read {
        entry: reader.entry.clone(),
        life: false,
    };
    match io.server(asked).await {
        Ok(ReadReply::Found {
            voucher: Some(voucher),
            value: Some(value),
            ..
        }) if vouches(&voucher, &stamp, &value) => return Sought::Found(value.into()),
        Ok(_) => {}
        Err(fault) => log::debug!(
            "{}: read from the file: {}",
            reader.document,
            fault.into_error()
        ),
    }
    Sought::Nothing
}

/// Fills with what was read under the lease, if its stamp surely belongs to no other content; else gives the lease back. What
/// becomes of either is no concern of this reader's.
async fn end_lease(io: &Io, reader: &Reader, token: String, found: Option<&Found>) {
    let entry = reader.entry.clone();
    match found.filter(|found| found.settled) {
        Some(found) => {
            let (bytes, stamp) = (found.bytes.clone(), Some(found.stamp));
            load::fill(io, entry, token, bytes, stamp, reader.ttl).await;
        }
        None => load::let_go(io, entry, token).await,
    }
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
        let mut run = read(Reader {
            document: "run/climate".to_owned(),
            place,
            entry,
            ttl: Duration::from_secs(9),
            token: "t".to_owned(),
            lease_ttl: Duration::from_secs(1),
            patience: Duration::ZERO,
        });
        let now = Now {
            wall_ns: STAMP.mtime_ns + age_ns,
            ..Now::default()
        };
        let no_transaction = Got::Sidecar(Sidecar::default());
        let mut got = std::iter::once(no_transaction).chain(got);
        let (mut actions, mut answer) = (Vec::new(), None);
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
                "disk.peek-sidecar",
                "disk.stat",
                "sleep",
                "disk.stat",
                "sleep",
                "disk.stat",
                "server.Lease",
                "disk.read",
                "sleep",
                "disk.read"
            ]
        );
        let always = vec![Got::Torn; limits::READ_ATTEMPTS as usize];
        let (refused, actions) = read_with(always, 0);
        assert!(refused.is_err_and(|e| e.is_document()));
        assert_eq!(actions.len(), 1 + 2 * limits::READ_ATTEMPTS as usize);
    }

    #[test]
    fn a_file_is_settled_by_its_age_or_by_the_sidecar() {
        let settled = |age_ns, saved_ns| {
            let sidecar = Sidecar {
                fence: 1,
                mtime_ns: saved_ns,
                journal: None,
            };
            let answers = vec![Got::Stamp(Some(STAMP)), file(), Got::Sidecar(sidecar)];
            let (found, actions) = read_with(answers, age_ns);
            // After the file was read; once before that, for a transaction that died.
            let peeked = actions.last().is_some_and(|it| it == "disk.peek-sidecar");
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
        assert!(
            !actions.iter().any(|it| it.starts_with("server")),
            "{actions:?}"
        );
    }
}
