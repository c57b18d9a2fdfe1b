//! Leases of readers: taken, extended, given back, and used to fill an entry.

use super::{
    acquire::decimal,
    attempt::{Attempt, Seen, Stop},
};
use crate::{
    engine::{failure::nonsense, wire::Packed},
    model::Entry,
    op::{
        Extend, ExtendReply, Fill, FillReply, GiveBack, GiveBackReply, Lease, LeaseReply, flight,
        keys::sibling,
        voucher::{fill_voucher, is_later, is_of},
    },
};

pub(super) async fn lease(attempt: &mut Attempt<'_, '_>, op: &Lease) -> Result<LeaseReply, Stop> {
    let (entry, stamp) = (&op.entry, sibling(&op.entry.value, "stamp"));
    let mut seen = attempt
        .look(
            &[],
            |_| {},
            &[&stamp, &entry.value, &entry.leases],
            |packed| {
                packed.request(&[b"GET", stamp.as_bytes()]);
                pack_field(entry, packed);
                pack_clocks(entry, packed);
                packed.request(&[b"GET", entry.value.as_bytes()]);
            },
        )
        .await?;
    let voucher = seen.text()?;
    // A script does not read the hash if the entry is there, so errors about its type count only
    // below.
    let (field, clocks) = (field(&mut seen), clocks(&mut seen));
    if let Some(voucher) = voucher {
        if op.wanted.is_some_and(|wanted| is_later(&voucher, &wanted)) {
            return Ok(LeaseReply::Newer);
        }
        if op.wanted.is_none_or(|wanted| is_of(&voucher, &wanted))
            && op.refused.as_deref().unwrap_or_default() != voucher
            && let Some(value) = seen.text()?
        {
            return Ok(LeaseReply::Present { voucher, value });
        }
    }
    let (field, clocks) = (field?, clocks?);
    let field = field.as_deref();
    let busy_until = field.and_then(|it| flight::busy_until(it, &op.token, clocks.now_ms));
    if let Some(end_ms) = busy_until {
        return Ok(LeaseReply::Busy {
            left_ms: end_ms - clocks.now_ms,
        });
    }
    put(attempt, entry, &op.token, op.ttl_ms, clocks).await?;
    Ok(LeaseReply::Leased)
}

pub(super) async fn extend(
    attempt: &mut Attempt<'_, '_>,
    op: &Extend,
) -> Result<ExtendReply, Stop> {
    let read = |packed: &mut Packed| {
        pack_field(&op.entry, packed);
        pack_clocks(&op.entry, packed);
    };
    let mut seen = attempt.look(&[], |_| {}, &[&op.entry.leases], read).await?;
    if !is_own(field(&mut seen)?, &op.token) {
        return Ok(ExtendReply::Lost);
    }
    let clocks = clocks(&mut seen)?;
    put(attempt, &op.entry, &op.token, op.ttl_ms, clocks).await?;
    Ok(ExtendReply::Done)
}

pub(super) async fn give_back(
    attempt: &mut Attempt<'_, '_>,
    op: &GiveBack,
) -> Result<GiveBackReply, Stop> {
    if !holds(attempt, &op.entry, &op.token).await? {
        return Ok(GiveBackReply::Lost);
    }
    attempt.write(|packed| pack_drop(&op.entry, packed)).await?;
    Ok(GiveBackReply::Done)
}

pub(super) async fn fill(attempt: &mut Attempt<'_, '_>, op: &Fill) -> Result<FillReply, Stop> {
    if !holds(attempt, &op.entry, &op.token).await? {
        return Ok(FillReply::Refused);
    }
    let life = op.ttl_ms.to_string();
    let stamp = sibling(&op.entry.value, "stamp");
    let voucher = fill_voucher(op.stamp.as_ref(), &op.token, &op.bytes);
    attempt
        .write(|packed| {
            let (value, life) = (op.entry.value.as_bytes(), life.as_bytes());
            packed.bytes.reserve(op.bytes.len() + voucher.len() + 256);
            pack_drop(&op.entry, packed);
            packed.request(&[b"SET", value, &op.bytes, b"PX", life]);
            packed.request(&[b"SET", stamp.as_bytes(), voucher.as_bytes(), b"PX", life]);
        })
        .await?;
    Ok(FillReply::Filled)
}

async fn holds(attempt: &mut Attempt<'_, '_>, entry: &Entry, token: &str) -> Result<bool, Stop> {
    let read = |packed: &mut Packed| pack_field(entry, packed);
    let mut seen = attempt.look(&[], |_| {}, &[&entry.leases], read).await?;
    Ok(is_own(field(&mut seen)?, token))
}

async fn put(
    attempt: &mut Attempt<'_, '_>,
    entry: &Entry,
    token: &str,
    ttl_ms: u64,
    clocks: Clocks,
) -> Result<(), Stop> {
    let ttl = ttl_ms.to_string();
    let text = flight::lease(token, clocks.now_ms + ttl_ms);
    let (leases, value) = (entry.leases.as_bytes(), entry.value.as_bytes());
    attempt
        .write(|packed| {
            packed.request(&[b"HSET", leases, value, text.as_bytes()]);
            // The hash lives as long as its longest field.
            if u64::try_from(clocks.left_ms).is_ok_and(|left| left >= ttl_ms) {
                return;
            }
            packed.request(&[b"PEXPIRE", leases, ttl.as_bytes()]);
        })
        .await?;
    Ok(())
}

fn pack_field(entry: &Entry, packed: &mut Packed) {
    packed.request(&[b"HMGET", entry.leases.as_bytes(), entry.value.as_bytes()]);
}

fn pack_drop(entry: &Entry, packed: &mut Packed) {
    packed.request(&[b"HDEL", entry.leases.as_bytes(), entry.value.as_bytes()]);
}

fn field(seen: &mut Seen) -> Result<Option<Vec<u8>>, Stop> {
    Ok(seen.texts()?.into_iter().next().flatten())
}

/// The server's time, and how much longer the hash lives.
struct Clocks {
    now_ms: u64,
    /// As PTTL returns it.
    left_ms: i64,
}

fn pack_clocks(entry: &Entry, packed: &mut Packed) {
    packed.request(&[b"TIME"]);
    packed.request(&[b"PTTL", entry.leases.as_bytes()]);
}

fn clocks(seen: &mut Seen) -> Result<Clocks, Stop> {
    let (now_ms, left_ms) = (time_ms(seen), seen.number()?);
    let now_ms = now_ms?;
    Ok(Clocks { now_ms, left_ms })
}

/// The reply to TIME, in ms.
pub(super) fn time_ms(seen: &mut Seen) -> Result<u64, Stop> {
    let mut parts = seen.texts()?.into_iter().map(|part| decimal(&part?));
    match (parts.next().flatten(), parts.next().flatten()) {
        (Some(seconds), Some(micros)) => Ok(seconds * 1_000 + micros / 1_000),
        _ => Err(nonsense("TIME").into()),
    }
}

fn is_own(text: Option<Vec<u8>>, token: &str) -> bool {
    text.is_some_and(|text| flight::is_lease(&text, token))
}
