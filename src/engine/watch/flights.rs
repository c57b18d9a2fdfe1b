//! Leases and marks in flight for entries: found in the look, dropped in the transaction.

use super::attempt::{Seen, Stop, Style};
use crate::{
    engine::{call::Call, wire::Packed},
    model::limits,
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

/// The fields to drop: all leases, and the marks with this token unless it is empty.
pub(super) fn to_drop<'a>(
    flights: &[Flight<'a>],
    style: Style,
    token: &str,
    seen: &mut Seen,
) -> Result<Vec<Flight<'a>>, Stop> {
    let mut found = Vec::new();
    let mut any = false;
    for flight in flights {
        if !style.in_flight {
            any |= seen.word()? == "hash";
            continue;
        }
        for values in flight.values.chunks(limits::UNLINK_CHUNK) {
            let texts = seen.fields(values.len())?;
            let dropped = values
                .iter()
                .zip(texts)
                .filter(|(_, text)| text.as_ref().is_some_and(|text| is_to_drop(text, token)));
            let values: Vec<_> = dropped.map(|(value, _)| *value).collect();
            if !values.is_empty() {
                found.push(Flight {
                    leases: flight.leases,
                    values,
                });
            }
        }
    }
    match any {
        true => Err(Stop::InFlight),
        false => Ok(found),
    }
}

fn is_to_drop(text: &[u8], token: &str) -> bool {
    let mark = text.strip_prefix(b"w:").filter(|_| !token.is_empty());
    let own = mark.and_then(|mark| mark.strip_prefix(token.as_bytes()));
    text.starts_with(b"l:") || own.is_some_and(|rest| rest.starts_with(b":"))
}

pub(super) fn pack_drop(flights: &[Flight<'_>], packed: &mut Packed) {
    for flight in flights {
        packed.begin(2 + flight.values.len());
        packed.arg(b"HDEL");
        packed.arg(flight.leases.as_bytes());
        flight
            .values
            .iter()
            .for_each(|value| packed.arg(value.as_bytes()));
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

#[cfg(test)]
mod tests {
    use super::is_to_drop;

    #[test]
    fn leases_and_own_marks_are_dropped() {
        for (text, token, dropped) in [
            ("l:t:9", "", true),
            ("w:t:9", "", false),
            ("w::9", "", false),
            ("w:t:9", "t", true),
            ("w:t2:9", "t", false),
            ("w:*:9", "t", false),
            ("x", "x", false),
        ] {
            assert_eq!(
                is_to_drop(text.as_bytes(), token),
                dropped,
                "{text} {token}"
            );
        }
    }
}
