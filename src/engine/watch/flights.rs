//! Leases and marks in flight for entries: found in the look, dropped in the transaction.

use super::attempt::{Seen, Stop, Style};
use crate::{
    engine::{call::Call, wire::Packed},
    model::limits,
    op::flight::{self, Left},
};

/// Entries that share a hash of leases.
pub(super) struct Flight<'a> {
    pub(super) leases: &'a str,
    pub(super) values: Vec<&'a str>,
}

/// The entries of a call, except own ones.
pub(super) fn of<'a>(call: &'a Call<'_>) -> impl Iterator<Item = Flight<'a>> {
    call.groups()
        .map(|(leases, values)| Flight { leases, values })
}

/// Requests all keys at once; nothing if there are none. A key of another type is read as missing.
pub(super) fn pack_mget(keys: &[&str], packed: &mut Packed) {
    if keys.is_empty() {
        return;
    }
    packed.begin(1 + keys.len());
    packed.arg(b"MGET");
    keys.iter().for_each(|key| packed.arg(key.as_bytes()));
}

/// Asks whether anything is in flight at all; once that is known, reads every entry's field.
pub(super) fn pack_reads(flights: &[Flight<'_>], style: Style, packed: &mut Packed) {
    for flight in flights {
        if !style.in_flight {
            packed.request(&[b"TYPE", flight.leases.as_bytes()]);
            continue;
        }
        for values in flight.values.chunks(limits::UNLINK_CHUNK) {
            pack_fields(flight.leases, values, packed);
        }
    }
}

pub(super) fn pack_fields(leases: &str, values: &[&str], packed: &mut Packed) {
    packed.begin(2 + values.len());
    packed.arg(b"HMGET");
    packed.arg(leases.as_bytes());
    values.iter().for_each(|value| packed.arg(value.as_bytes()));
}

/// What a change does to fields: leases are dropped, and the writer's marks.
#[derive(Default)]
pub(super) struct Change<'a> {
    pub(super) dropped: Vec<Flight<'a>>,
    /// By their hashes.
    kept: Vec<(&'a str, Vec<Kept<'a>>)>,
}

/// A value, and the marks of other writers on it.
type Kept<'a> = (&'a str, Vec<u8>);

/// `token` is that of the writer's marks, empty if it has none.
pub(super) fn change<'a>(
    flights: &[Flight<'a>],
    style: Style,
    token: &str,
    seen: &mut Seen,
) -> Result<Change<'a>, Stop> {
    let mut change = Change::default();
    let mut any = false;
    for flight in flights {
        if !style.in_flight {
            any |= seen.word()? == "hash";
            continue;
        }
        for values in flight.values.chunks(limits::UNLINK_CHUNK) {
            let (mut dropped, mut kept) = (Vec::new(), Vec::new());
            let texts = seen.fields(values.len())?;
            for (value, text) in values.iter().copied().zip(texts) {
                match text.map(|text| flight::after_change(&text, token)) {
                    None | Some(Left::All) => {}
                    Some(Left::Nothing) => dropped.push(value),
                    Some(Left::Marks(marks)) => kept.push((value, marks)),
                }
            }
            if !dropped.is_empty() {
                change.dropped.push(Flight {
                    leases: flight.leases,
                    values: dropped,
                });
            }
            // A full server takes no such write, and the mark lasts until its end.
            if !kept.is_empty() && !style.one_by_one {
                change.kept.push((flight.leases, kept));
            }
        }
    }
    match any {
        true => Err(Stop::InFlight),
        false => Ok(change),
    }
}

impl Change<'_> {
    pub(super) fn pack_drop(&self, packed: &mut Packed) {
        for flight in &self.dropped {
            packed.begin(2 + flight.values.len());
            packed.arg(b"HDEL");
            packed.arg(flight.leases.as_bytes());
            flight
                .values
                .iter()
                .for_each(|value| packed.arg(value.as_bytes()));
        }
    }

    pub(super) fn pack_keep(&self, packed: &mut Packed) {
        for (leases, kept) in &self.kept {
            let fields = kept.iter().map(|(value, marks)| (*value, &**marks));
            pack_put(leases, fields, packed);
        }
    }
}

pub(super) fn pack_put<'b>(
    leases: &str,
    fields: impl ExactSizeIterator<Item = (&'b str, &'b [u8])>,
    packed: &mut Packed,
) {
    packed.begin(2 + 2 * fields.len());
    packed.arg(b"HSET");
    packed.arg(leases.as_bytes());
    for (value, text) in fields {
        packed.arg(value.as_bytes());
        packed.arg(text);
    }
}

/// Deletes keys in chunks, in as many requests as [`chunks`] returns.
pub(super) fn pack_unlink(keys: &[&str], packed: &mut Packed) {
    for keys in keys.chunks(limits::UNLINK_CHUNK) {
        packed.begin(1 + keys.len());
        packed.arg(b"UNLINK");
        keys.iter().for_each(|key| packed.arg(key.as_bytes()));
    }
}

pub(super) fn chunks(keys: &[&str]) -> usize {
    keys.len().div_ceil(limits::UNLINK_CHUNK)
}

/// How many keys a series of UNLINKs has deleted.
pub(super) fn removed(replies: &[redis::Value]) -> u64 {
    let numbers = replies.iter().map(|reply| match reply {
        redis::Value::Int(n) => u64::try_from(*n).unwrap_or(0),
        _ => 0,
    });
    numbers.sum()
}
