use super::{
    attempt::{Attempt, Locks, Seen, Stop},
    flights::{self, Flight},
    stamps::{self, Stored},
};
use crate::{
    engine::{call::Call, wire::Packed},
    model::Lock,
    op::{
        Commit, CommitReply, Own,
        voucher::{is_later, is_of},
    },
};

pub(super) async fn run(
    attempt: &mut Attempt<'_, '_>,
    op: &Commit,
    call: &Call<'_>,
) -> Result<CommitReply, Stop> {
    let style = attempt.style();
    let values: Vec<&str> = op.own.iter().map(|own| own.entry.value.as_str()).collect();
    let stamps: Vec<String> = values.iter().map(|value| stamps::key(value)).collect();
    let flights: Vec<Flight<'_>> = own_flights(op).chain(flights::of(call)).collect();

    let locks = attempt.locks();
    let lock_keys: Vec<&str> = op.locks.iter().map(|lock| lock.key.as_str()).collect();
    let leases = flights.iter().map(|flight| flight.leases);
    let over = op.own.iter().filter(|own| own.over.is_some());
    let over: Vec<&str> = over.map(|own| own.entry.value.as_str()).collect();
    let keys = stamps.iter().map(String::as_str).chain(leases);
    let keys: Vec<&str> = keys.chain(over.iter().copied()).collect();
    let mut seen = attempt
        .look(
            &lock_keys,
            |packed| flights::pack_mget(&lock_keys, packed),
            &keys,
            |packed| {
                flights::pack_mget(&keys[..stamps.len()], packed);
                flights::pack_reads(&flights, style, packed);
                over.iter()
                    .for_each(|value| packed.request(&[b"TYPE", value.as_bytes()]));
            },
        )
        .await?;
    let held = held(&op.locks, &mut seen)?;
    let all_held = held.len() == op.locks.len();
    let released = if op.release { held } else { Vec::new() };
    let stored = Stored::read(&stamps, &mut seen)?;
    let change = flights::change(&flights, style, &op.token, &mut seen)?;
    let Before {
        replayed,
        superseded,
    } = before(op, call, &stored, &mut seen)?;
    let sets = all_held && !superseded && !replayed;

    let dependents: Vec<&str> = op
        .dependents
        .iter()
        .map(|entry| entry.value.as_str())
        .collect();
    let done = attempt
        .write_and_tell(&released, |packed| {
            if !replayed {
                change.pack_drop(packed);
                flights::pack_unlink(&dependents, packed);
                change.pack_keep(packed);
            }
            if !sets {
                flights::pack_unlink(&values, packed);
            }
            for (index, own) in op.own.iter().enumerate() {
                match sets {
                    true => set(own, &stamps[index], call.voucher(index), packed),
                    false => stored.raise(index, &own.stamp, own.ttl_ms, packed),
                }
            }
            unlock(locks, &released, packed);
        })
        .await?;
    if replayed {
        return Ok(CommitReply::Replayed);
    }
    let removed = flights::removed(&done[change.dropped.len()..][..flights::chunks(&dependents)]);
    Ok(match (all_held, superseded) {
        (true, false) => CommitReply::Committed { removed },
        (true, true) => CommitReply::Superseded { removed },
        (false, _) => CommitReply::Lost { removed },
    })
}

fn unlock(locks: Locks, keys: &[&str], packed: &mut Packed) {
    if !keys.is_empty() {
        locks.pack(packed, |packed| flights::pack_unlink(keys, packed));
    }
}

fn own_flights(op: &Commit) -> impl Iterator<Item = Flight<'_>> {
    op.own.iter().map(|own| Flight {
        leases: &own.entry.leases,
        values: vec![&own.entry.value],
    })
}

/// The locks that the caller still holds.
pub(super) fn held<'a>(locks: &'a [Lock], seen: &mut Seen) -> Result<Vec<&'a str>, Stop> {
    if locks.is_empty() {
        return Ok(Vec::new());
    }
    let found = locks.iter().zip(seen.texts()?);
    let held = found.filter(|(lock, text)| text.as_deref() == Some(lock.value.as_bytes()));
    Ok(held.map(|(lock, _)| lock.key.as_str()).collect())
}

/// What the stamps of the own entries say.
#[derive(Default)]
struct Before {
    /// A stamp is this commit's: it has run already.
    replayed: bool,
    /// A stamp is of a later file, so this commit arrived late. Or an entry is missing, or not of
    /// the file that was replaced.
    superseded: bool,
}

fn before(
    op: &Commit,
    call: &Call<'_>,
    stored: &Stored<'_>,
    seen: &mut Seen,
) -> Result<Before, Stop> {
    let mut before = Before::default();
    for (index, (own, stamp)) in op.own.iter().zip(stored.texts()).enumerate() {
        let stamp = stamp.unwrap_or_default();
        before.replayed |= stamp == call.voucher(index).as_bytes();
        before.superseded |= is_later(stamp, &own.stamp);
        if let Some(over) = &own.over {
            before.superseded |= seen.word()? == "none" || !is_of(stamp, over);
        }
    }
    Ok(before)
}

fn set(own: &Own, stamp: &str, voucher: &str, packed: &mut Packed) {
    let (value, life) = (own.entry.value.as_bytes(), own.ttl_ms.to_string());
    let (stamp, life) = (stamp.as_bytes(), life.as_bytes());
    packed.bytes.reserve(own.bytes.len() + voucher.len() + 256);
    packed.request(&[b"SET", stamp, voucher.as_bytes(), b"PX", life]);
    packed.request(&[b"SET", value, &own.bytes, b"PX", life]);
}
