use super::{
    acquire::{decimal, life},
    attempt::{Attempt, Locks, Seen, Stop},
    flights::{self, Flight},
};
use crate::{
    engine::{call::Call, wire::Packed},
    op::{Commit, CommitReply, Lock, Own, keys::sibling},
};

pub(super) fn run(
    attempt: &mut Attempt<'_, '_>,
    op: &Commit,
    call: &Call<'_>,
) -> Result<CommitReply, Stop> {
    let style = attempt.style();
    let stamps: Vec<String> = op
        .own
        .iter()
        .map(|own| sibling(&own.entry.value, "stamp"))
        .collect();
    let flights: Vec<Flight<'_>> = own_flights(op).chain(flights::of(call)).collect();

    let locks = attempt.locks();
    let lock_keys: Vec<&str> = op.locks.iter().map(|lock| lock.key.as_str()).collect();
    let leases = flights.iter().map(|flight| flight.leases);
    let keys: Vec<&str> = stamps.iter().map(String::as_str).chain(leases).collect();
    let mut seen = attempt.look(
        &lock_keys,
        |packed| pack_gets(&lock_keys, packed),
        &keys,
        |packed| {
            pack_gets(&keys[..stamps.len()], packed);
            flights::pack_reads(&flights, style, packed);
        },
    )?;
    let held = held(&op.locks, &mut seen)?;
    let all_held = held.len() == op.locks.len();
    let released = if op.release { held } else { Vec::new() };
    let Before {
        replayed,
        superseded,
    } = before(op, call, &mut seen)?;
    if replayed {
        if !released.is_empty() {
            attempt.write_and_tell(&released, |packed| unlock(locks, &released, packed))?;
        }
        return Ok(CommitReply::Replayed);
    }
    let dropped = flights::to_drop(&flights, style, &op.token, &mut seen)?;
    let sets = all_held && !superseded;
    let lives = match sets {
        true => op.own.iter().map(|own| life(own.ttl_ms)).collect(),
        false => Ok(Vec::new()),
    };
    let lives = lives?;

    // SET replaces whatever is there, in the same step.
    let lost = op.own.iter().zip(&stamps).filter(|_| !sets);
    let owns: Vec<&str> = lost
        .flat_map(|(own, stamp)| [own.entry.value.as_str(), stamp.as_str()])
        .collect();
    let dependents: Vec<&str> = op
        .dependents
        .iter()
        .map(|entry| entry.value.as_str())
        .collect();
    let done = attempt.write_and_tell(&released, |packed| {
        flights::pack_drop(&dropped, packed);
        flights::pack_unlink(&owns, packed);
        flights::pack_unlink(&dependents, packed);
        for (index, (own, life)) in op.own.iter().zip(&lives).enumerate() {
            set(own, &stamps[index], call.voucher(index), life, packed);
        }
        unlock(locks, &released, packed);
    })?;
    let first = dropped.len() + flights::chunks(&owns);
    let removed = flights::removed(&done[first..][..flights::chunks(&dependents)]);
    Ok(match (all_held, superseded) {
        (true, false) => CommitReply::Committed { removed },
        (true, true) => CommitReply::Superseded { removed },
        (false, _) => CommitReply::Lost { removed },
    })
}

pub(super) fn pack_gets(keys: &[&str], packed: &mut Packed) {
    for key in keys {
        packed.request(&[b"GET", key.as_bytes()]);
    }
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

/// The locks that are still the caller's.
pub(super) fn held<'a>(locks: &'a [Lock], seen: &mut Seen) -> Result<Vec<&'a str>, Stop> {
    let mut held = Vec::new();
    for lock in locks {
        if seen.text()?.as_deref() == Some(lock.value.as_bytes()) {
            held.push(lock.key.as_str());
        }
    }
    Ok(held)
}

/// What the own stamps say.
#[derive(Default)]
struct Before {
    /// One carries this commit's id: it has run.
    replayed: bool,
    /// One is of a later file: this commit was held up on its way.
    superseded: bool,
}

fn before(op: &Commit, call: &Call<'_>, seen: &mut Seen) -> Result<Before, Stop> {
    let mut before = Before::default();
    for index in 0..op.own.len() {
        let Some(stamp) = seen.text()? else { continue };
        let mut parts = stamp.split(|byte| *byte == b':').skip(1);
        before.replayed |= parts.next() == Some(op.id.as_bytes()) && parts.next().is_some();
        let own = mtime(call.voucher(index).as_bytes());
        before.superseded |= mtime(&stamp)
            .zip(own)
            .is_some_and(|(stored, own)| own < stored);
    }
    Ok(before)
}

/// The modification time that a stamp begins with, where it has one.
pub(super) fn mtime(stamp: &[u8]) -> Option<u64> {
    let digits = stamp.iter().take_while(|byte| byte.is_ascii_digit());
    decimal(&stamp[..digits.count()])
}

fn set(own: &Own, stamp: &str, voucher: &str, life: &str, packed: &mut Packed) {
    let (value, stamp, life) = (
        own.entry.value.as_bytes(),
        stamp.as_bytes(),
        life.as_bytes(),
    );
    packed.bytes.reserve(own.bytes.len() + voucher.len() + 256);
    packed.request(&[b"SET", value, &own.bytes, b"PX", life]);
    packed.request(&[b"SET", stamp, voucher.as_bytes(), b"PX", life]);
}
