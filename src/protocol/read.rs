//! Reads a document from its file, and fills its entry for readers that have no file.
//!
//! The server's copy is never used instead of the file. A stamp vouches for it, and other programs
//! can restore an old stamp: the copy may then look right to the server, and only the file can
//! tell.

use super::{
    files::{Found, Missing, is_old},
    load,
    run::{Io, Run},
    steps::millis,
    tries::Tries,
};
use crate::{
    model::{Entry, Error, Place, Result, error::Kind, limits},
    op::{Fault, Lease, LeaseReply, voucher::vouches},
};
use std::time::Duration;

/// What a reader provides.
#[derive(Clone, Debug)]
pub(crate) struct Reader {
    /// For messages.
    pub(crate) document: String,
    pub(crate) place: Place,
    pub(crate) entry: Entry,
    /// The entry's life.
    pub(crate) ttl: Duration,
    /// The lease's token: 128 random bits in hex.
    pub(crate) token: String,
    pub(crate) lease_ttl: Duration,
    /// How long after its first try an unanswered request may be retried.
    pub(crate) patience: Duration,
}

/// The server's answer to the request for a lease.
enum Entered {
    /// There is an entry, which may match this file.
    There { voucher: Vec<u8>, value: Vec<u8> },
    /// There is no entry, and this reader may fill it, with this token.
    Leased(String),
    /// There is nothing to do about the entry.
    Left,
}

impl Entered {
    /// Whether the entry does not match the file that was read.
    fn is_wrong(&self, found: &Found) -> bool {
        match self {
            Self::There { voucher, value } => {
                let same = **value == *found.bytes;
                !(same && vouches(voucher, &found.stamp(), &found.bytes))
            }
            _ => false,
        }
    }
}

/// Takes at most two round trips if nobody else sets the entry: the lease and the fill.
pub(crate) fn read(reader: Reader) -> Run<Found> {
    Run::new(|io| async move {
        let saved_ns = io.finish_what_died(&reader.place).await.mtime_ns;
        let (mut refused, mut attempts) = (None, limits::UNFIT_ATTEMPTS);
        let mut tries = Tries::new(reader.patience);
        loop {
            let entered = enter(&io, &reader, &mut tries, refused.take()).await?;
            let found = io.read_file(&reader.place, Missing::Brief, saved_ns).await;
            let there = found.as_ref().ok().and_then(Option::as_ref);
            attempts -= 1;
            let wrong = attempts > 0 && there.is_some_and(|found| entered.is_wrong(found));
            match entered {
                Entered::Leased(token) => end_lease(&io, &reader, token, there).await,
                // A foreign program set the value, or restored an old stamp with the file.
                Entered::There { voucher, .. } if wrong => {
                    refused = Some(voucher);
                    continue;
                }
                _ => {}
            }
            return found?.ok_or_else(|| {
                Error::new(Kind::NotFound {
                    document: reader.document.clone(),
                })
            });
        }
    })
}

/// Requests the lease, if the file as it is now may be filled.
async fn enter(
    io: &Io,
    reader: &Reader,
    tries: &mut Tries,
    refused: Option<Vec<u8>>,
) -> Result<Entered> {
    let Some(identity) = io.stat(&reader.place).await? else {
        return Ok(Entered::Left);
    };
    let now_ns = io.now().wall_ns;
    if !is_old(&identity, now_ns) || !identity.is_over(now_ns) {
        return Ok(Entered::Left);
    }
    loop {
        tries.begin(io);
        let token = tries.name(&reader.token);
        let asked = Lease {
            entry: reader.entry.clone(),
            token: token.clone(),
            ttl_ms: millis(reader.lease_ttl),
            wanted: Some(identity.stamp),
            refused: refused.clone(),
        };
        let answer = io.server(asked).await;
        if answer.is_ok() {
            tries.answered();
        }
        return Ok(match answer {
            Ok(LeaseReply::Present { voucher, value }) => Entered::There { voucher, value },
            Ok(LeaseReply::Leased) => Entered::Leased(token),
            // The file was read locally, so there is no reason to wait. For `Newer`, the file is
            // newer than the one that was checked, too.
            Ok(LeaseReply::Busy { .. } | LeaseReply::Newer) => Entered::Left,
            Err(Fault::Unknown(e)) => {
                load::renounce(io, reader.entry.clone(), token, &e).await;
                // A server that answered with an error would do so again.
                if !e.is_server() && tries.again(io).await {
                    continue;
                }
                Entered::Left
            }
            Err(Fault::NotDone(e)) => {
                log::debug!("{}: not filled: {e}", reader.document);
                Entered::Left
            }
        });
    }
}

/// Fills the entry with what was read under the lease, if it may be given to others; otherwise
/// gives the lease back. This reader ignores the outcome.
async fn end_lease(io: &Io, reader: &Reader, token: String, found: Option<&Found>) {
    let entry = reader.entry.clone();
    match found.filter(|found| found.settled) {
        Some(found) => {
            let (bytes, stamp) = (found.bytes.clone(), Some(found.stamp()));
            load::fill(io, entry, token, bytes, stamp, reader.ttl).await;
        }
        None => load::let_go(io, entry, token).await,
    }
}

/// Reads the document for a writer that has no lock.
pub(crate) fn to_change(document: String, place: Place) -> Run<Found> {
    Run::new(|io| async move {
        io.writable_folder(&place).await?;
        let saved_ns = io.finish_what_died(&place).await.mtime_ns;
        let found = io.read_file(&place, Missing::Brief, saved_ns).await?;
        found.ok_or_else(|| Error::new(Kind::NotFound { document }))
    })
}

/// Whether the document exists.
pub(crate) fn exists(place: Place) -> Run<bool> {
    Run::new(|io| async move { Ok(io.stat(&place).await?.is_some()) })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        disk::{Got, Identity, Sidecar},
        model::Stamp,
        protocol::run::{Answer, Now, Step},
    };

    const STAMP: Stamp = Stamp {
        mtime_ns: 5_000_000_000,
        size: 2,
        inode: 1,
    };

    const IDENTITY: Identity = Identity {
        stamp: STAMP,
        changed_ns: STAMP.mtime_ns,
        tick_ns: limits::FINE_TICK_NS,
    };
    const OLD_NS: i64 = limits::YOUNG_NS;

    /// Reads with these answers of the disk, this long after the file's time; returns the result
    /// and the actions.
    fn read_with(got: Vec<Got>, age_ns: i64) -> (Result<Found, Error>, Vec<String>) {
        read_after(Sidecar::default(), got, age_ns)
    }

    fn read_after(
        sidecar: Sidecar,
        got: Vec<Got>,
        age_ns: i64,
    ) -> (Result<Found, Error>, Vec<String>) {
        let place = Place {
            folder: "run".into(),
            file: "climate.nodb".into(),
        };
        let entry = Entry {
            value: "value".into(),
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
        let mut got = std::iter::once(Got::Sidecar(sidecar)).chain(got);
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
        Got::File(IDENTITY, b"{}".to_vec().into())
    }

    #[test]
    fn a_folder_that_went_stale_is_looked_into_again() {
        let there = Got::Identity(Some(IDENTITY));
        let answers = vec![Got::Torn, Got::Torn, there, Got::Torn, file()];
        let (found, actions) = read_with(answers, OLD_NS);
        assert!(found.is_ok_and(|found| found.settled));
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
    fn a_file_is_trusted_by_its_age_or_by_the_sidecar_and_never_within_its_tick() {
        // Whether it may be filled, and whether its identity distinguishes it from later versions.
        let trusted = |age_ns, saved_ns| {
            let sidecar = Sidecar {
                mtime_ns: saved_ns,
                ..Sidecar::default()
            };
            let answers = vec![Got::Identity(Some(IDENTITY)), file()];
            let (found, _) = read_after(sidecar, answers, age_ns);
            let found = found.expect("read");
            (found.settled, found.version.is(&IDENTITY) == Some(true))
        };
        let over_ns = limits::FINE_TICK_NS;
        assert_eq!(trusted(OLD_NS, 0), (true, true));
        assert_eq!(trusted(OLD_NS - 1, 0), (false, false));
        assert_eq!(trusted(over_ns, STAMP.mtime_ns), (false, true));
        assert_eq!(trusted(over_ns, STAMP.mtime_ns + 1), (false, false));
        // Not even if a save vouches for it.
        assert_eq!(trusted(over_ns - 1, STAMP.mtime_ns), (false, false));
        assert_eq!(trusted(-OLD_NS, STAMP.mtime_ns), (false, false));
    }

    #[test]
    fn a_document_that_is_not_there_costs_no_round_trip_and_a_few_looks() {
        let mut answers = vec![Got::Identity(None)];
        answers.extend(vec![Got::Missing; limits::MISSING_ATTEMPTS as usize]);
        let (refused, actions) = read_with(answers, 0);
        assert!(refused.is_err_and(|e| e.is_not_found()));
        assert!(
            !actions.iter().any(|it| it.starts_with("server")),
            "{actions:?}"
        );
    }
}
