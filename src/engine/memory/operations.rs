//! What each operation means, in memory.
//!
//! Every operation reads first and then writes, so a refusal has changed nothing.

use super::keyspace::{Keyspace, WrongType, bytes, counter};
use crate::{
    model::{Bytes, Entry, Lock, Stamp, limits},
    op::{
        Acquire, AcquireReply, ClearLocks, ClearLocksReply, Commit, CommitReply, Extend,
        ExtendReply, Fill, FillReply, GiveBack, GiveBackReply, Holders, HoldersReply, Invalidate,
        InvalidateReply, Lease, LeaseReply, Op, Prepare, PrepareReply, Raise, Read, ReadReply,
        Release, ReleaseReply, Renew, RenewReply, Reply,
        flight::{self, Left},
        keys::{channel, sibling},
        voucher::{fill_voucher, is_later, is_of, raised, voucher},
    },
};

/// Why an operation did nothing, in a server's words.
#[derive(Debug, thiserror::Error)]
pub(super) enum Refusal {
    #[error("WRONGTYPE {0} holds the wrong kind of value")]
    WrongType(String),
    #[error("the stored fence is not a decimal number: {0}")]
    StoredFence(String),
    #[error("the fence cannot grow any more")]
    LastFence,
}

impl From<WrongType> for Refusal {
    fn from(wrong: WrongType) -> Self {
        Self::WrongType(wrong.key)
    }
}

pub(super) fn run(keys: &mut Keyspace, op: &Op) -> Result<Reply, Refusal> {
    Ok(match op {
        Op::Acquire(op) => Reply::Acquire(acquire(keys, op)?),
        Op::Renew(op) => Reply::Renew(renew(keys, op)?),
        Op::Release(op) => Reply::Release(release(keys, op)?),
        Op::Prepare(op) => Reply::Prepare(prepare(keys, op)?),
        Op::Commit(op) => Reply::Commit(commit(keys, op)?),
        Op::Invalidate(op) => Reply::Invalidate(invalidate(keys, op)?),
        Op::Lease(op) => Reply::Lease(lease(keys, op)?),
        Op::Extend(op) => Reply::Extend(extend(keys, op)?),
        Op::GiveBack(op) => Reply::GiveBack(give_back(keys, op)?),
        Op::Fill(op) => Reply::Fill(fill(keys, op)?),
        Op::Read(op) => Reply::Read(read(keys, op)),
        Op::ClearLocks(op) => Reply::ClearLocks(clear_locks(keys, op)),
        Op::Holders(op) => Reply::Holders(holders(keys, op)),
    })
}

/// First what the plain commands do, whatever they find: they skip a fence if the lock is held. If
/// they give no fence above the floor, the program runs. If it finds something wrong, it reports
/// that and leaves the lock free.
fn acquire(keys: &mut Keyspace, op: &Acquire) -> Result<AcquireReply, Refusal> {
    let free = !keys.contains(&op.lock.key);
    if free {
        keys.set(&op.lock.key, bytes(&op.lock.value), Some(op.ttl_ms));
    }
    let fence = next_fence(keys, &op.fence_key);
    if keys.contains(&op.fence_key) {
        keys.live_for(&op.fence_key, fence_life());
    }
    let given = fence.and_then(|fence| u64::try_from(fence).ok());
    if let Some(fence) = given.filter(|fence| free && *fence > op.floor) {
        return Ok(AcquireReply::Acquired { fence });
    }
    let holder = keys.text(&op.lock.key)?;
    if let Some(holder) = holder
        && **holder != *op.lock.value.as_bytes()
    {
        return Ok(AcquireReply::Held {
            value: String::from_utf8_lossy(holder).into_owned(),
            left_ms: keys.left_ms(&op.lock.key).flatten().unwrap_or(u64::MAX),
        });
    }
    let fence = fence_above(keys, op).inspect_err(|_| unlock(keys, &[&op.lock]))?;
    keys.set(&op.fence_key, bytes(&fence.to_string()), Some(fence_life()));
    keys.set(&op.lock.key, bytes(&op.lock.value), Some(op.ttl_ms));
    Ok(AcquireReply::Acquired { fence })
}

/// As INCR returns it.
fn next_fence(keys: &mut Keyspace, key: &str) -> Option<i64> {
    let stored = match keys.text(key).ok()? {
        None => 0,
        Some(text) => {
            let number: i64 = std::str::from_utf8(text).ok()?.parse().ok()?;
            (number.to_string().as_bytes() == &**text).then_some(number)?
        }
    };
    let next = stored.checked_add(1)?;
    let life_ms = keys.left_ms(key).flatten();
    keys.set(key, bytes(&next.to_string()), life_ms);
    Some(next)
}

fn fence_above(keys: &Keyspace, op: &Acquire) -> Result<u64, Refusal> {
    let stored = match keys.text(&op.fence_key)? {
        None => 0,
        Some(text) => counter(text).ok_or_else(|| Refusal::StoredFence(op.fence_key.clone()))?,
    };
    match stored.max(op.floor) {
        last if last > limits::MAX_FENCE => Err(Refusal::LastFence),
        last => Ok(last + 1),
    }
}

fn renew(keys: &mut Keyspace, op: &Renew) -> Result<RenewReply, Refusal> {
    if !holds(keys, &op.lock)? {
        return Ok(RenewReply::Lost);
    }
    keys.live_for(&op.lock.key, op.ttl_ms);
    keys.live_for(&op.fence_key, fence_life());
    Ok(RenewReply::Done)
}

fn release(keys: &mut Keyspace, op: &Release) -> Result<ReleaseReply, Refusal> {
    if !holds(keys, &op.lock)? {
        return Ok(ReleaseReply::Lost);
    }
    unlock(keys, &[&op.lock]);
    Ok(ReleaseReply::Done)
}

fn prepare(keys: &mut Keyspace, op: &Prepare) -> Result<PrepareReply, Refusal> {
    for lock in &op.locks {
        if !holds(keys, lock).unwrap_or(false) {
            return Ok(PrepareReply::Lost);
        }
    }
    let life_ms = op.ttl_ms;
    let mut marks = Vec::new();
    for entry in &op.entries {
        let field = keys
            .field(&entry.leases, &entry.value)?
            .map(|field| &**field);
        let now_ms = keys.now_ms();
        marks.push(flight::marked(field, &op.token, now_ms + life_ms, now_ms));
    }
    for (entry, marked) in op.entries.iter().zip(marks) {
        put_flight(keys, entry, marked.into(), life_ms);
    }
    remove_all(keys, &op.entries);
    Ok(PrepareReply::Done)
}

fn commit(keys: &mut Keyspace, op: &Commit) -> Result<CommitReply, Refusal> {
    // A lock of another type is not the caller's.
    let held = op
        .locks
        .iter()
        .filter(|lock| holds(keys, lock).unwrap_or(false));
    let held: Vec<&Lock> = held.collect();
    let all_held = held.len() == op.locks.len();
    let to_release = if op.release { held } else { Vec::new() };

    let (mut replayed, mut superseded) = (false, false);
    for own in &op.own {
        let stamp = stamp_of(keys, &own.entry.value).unwrap_or_default();
        replayed |= *stamp == *voucher(&own.stamp, &op.id, &own.bytes).as_bytes();
        superseded |= is_later(&stamp, &own.stamp);
        if let Some(over) = &own.over {
            superseded |= !(keys.contains(&own.entry.value) && is_of(&stamp, over));
        }
    }
    let mut removed = 0;
    if !replayed {
        let owns = op.own.iter().map(|own| &own.entry);
        let in_flight = in_flight(keys, owns.chain(&op.dependents), &op.token);
        drop_flights(keys, in_flight);
        removed = remove_all(keys, &op.dependents);
    }
    let sets = all_held && !superseded && !replayed;
    for own in &op.own {
        let (key, life_ms) = (&own.entry.value, Some(own.ttl_ms));
        if sets {
            let voucher = voucher(&own.stamp, &op.id, &own.bytes);
            keys.set(&sibling(key, "stamp"), bytes(&voucher), life_ms);
            keys.set(key, own.bytes.clone(), life_ms);
        } else {
            keys.remove(key);
            raise(keys, key, &own.stamp, own.ttl_ms);
        }
    }
    unlock(keys, &to_release);
    Ok(match (replayed, all_held, superseded) {
        (true, ..) => CommitReply::Replayed,
        (_, false, _) => CommitReply::Lost { removed },
        (_, true, true) => CommitReply::Superseded { removed },
        (_, true, false) => CommitReply::Committed { removed },
    })
}

/// The stamp under an entry's stamp key; `None` if the key is of another type.
fn stamp_of(keys: &Keyspace, value: &str) -> Option<Bytes> {
    let found = keys.text(&sibling(value, "stamp")).ok().flatten();
    found.cloned()
}

fn raise(keys: &mut Keyspace, value: &str, file: &Stamp, life_ms: u64) {
    let stored = stamp_of(keys, value);
    if !stored.is_some_and(|stored| is_later(&stored, file) || is_of(&stored, file)) {
        let text = bytes(&raised(file));
        keys.set(&sibling(value, "stamp"), text, Some(life_ms));
    }
}

fn invalidate(keys: &mut Keyspace, op: &Invalidate) -> Result<InvalidateReply, Refusal> {
    let to_release = match &op.release {
        Some(lock) if holds(keys, lock)? => vec![lock],
        _ => Vec::new(),
    };
    let in_flight = in_flight(keys, op.entries.iter(), &op.token);
    drop_flights(keys, in_flight);
    let removed = remove_all(keys, &op.entries);
    for Raise {
        value,
        stamp,
        ttl_ms,
    } in &op.raises
    {
        raise(keys, value, stamp, *ttl_ms);
    }
    unlock(keys, &to_release);
    Ok(InvalidateReply::Removed(removed))
}

fn lease(keys: &mut Keyspace, op: &Lease) -> Result<LeaseReply, Refusal> {
    if let Some(voucher) = keys.text(&sibling(&op.entry.value, "stamp"))?.cloned() {
        if op.wanted.is_some_and(|wanted| is_later(&voucher, &wanted)) {
            return Ok(LeaseReply::Newer);
        }
        if op.wanted.is_none_or(|wanted| is_of(&voucher, &wanted))
            && op.refused.as_deref().unwrap_or_default() != &*voucher
            && let Some(value) = keys.text(&op.entry.value)?
        {
            return Ok(LeaseReply::Present {
                voucher: voucher.to_vec(),
                value: value.to_vec(),
            });
        }
    }
    let field = keys.field(&op.entry.leases, &op.entry.value)?;
    let now_ms = keys.now_ms();
    let busy_until = field.and_then(|field| flight::busy_until(field, &op.token, now_ms));
    if let Some(end_ms) = busy_until {
        let left_ms = end_ms - now_ms;
        return Ok(LeaseReply::Busy { left_ms });
    }
    put_lease(keys, &op.entry, &op.token, op.ttl_ms);
    Ok(LeaseReply::Leased)
}

fn extend(keys: &mut Keyspace, op: &Extend) -> Result<ExtendReply, Refusal> {
    if !is_own_lease(keys, &op.entry, &op.token)? {
        return Ok(ExtendReply::Lost);
    }
    put_lease(keys, &op.entry, &op.token, op.ttl_ms);
    Ok(ExtendReply::Done)
}

fn give_back(keys: &mut Keyspace, op: &GiveBack) -> Result<GiveBackReply, Refusal> {
    if !is_own_lease(keys, &op.entry, &op.token)? {
        return Ok(GiveBackReply::Lost);
    }
    keys.remove_field(&op.entry.leases, &op.entry.value);
    Ok(GiveBackReply::Done)
}

fn fill(keys: &mut Keyspace, op: &Fill) -> Result<FillReply, Refusal> {
    if !is_own_lease(keys, &op.entry, &op.token)? {
        return Ok(FillReply::Refused);
    }
    let life_ms = Some(op.ttl_ms);
    let voucher = fill_voucher(op.stamp.as_ref(), &op.token, &op.bytes);
    keys.remove_field(&op.entry.leases, &op.entry.value);
    keys.set(&op.entry.value, op.bytes.clone(), life_ms);
    keys.set(&sibling(&op.entry.value, "stamp"), bytes(&voucher), life_ms);
    Ok(FillReply::Filled)
}

/// A plain `MGET` finds nothing under a key of another type.
fn read(keys: &Keyspace, op: &Read) -> ReadReply {
    let get = |key: &str| keys.text(key).ok().flatten().map(|text| text.to_vec());
    let life = |key: &str| keys.left_ms(key).unwrap_or(Some(0));
    ReadReply::Found {
        voucher: get(&sibling(&op.entry.value, "stamp")),
        value: get(&op.entry.value),
        left_ms: op.life.then(|| life(&op.entry.value)).flatten(),
    }
}

fn clear_locks(keys: &mut Keyspace, op: &ClearLocks) -> ClearLocksReply {
    let cleared = op.locks.iter().filter(|lock| keys.remove(lock)).count();
    // For every lock, whether it existed or not, as with a server.
    for lock in &op.locks {
        keys.tell(channel(lock));
    }
    ClearLocksReply::Cleared(cleared as u64)
}

fn holders(keys: &Keyspace, op: &Holders) -> HoldersReply {
    let holder = |lock: &String| {
        let value = keys.text(lock).ok().flatten()?;
        let left_ms = keys.left_ms(lock).flatten().unwrap_or(u64::MAX);
        Some((String::from_utf8_lossy(value).into_owned(), left_ms))
    };
    HoldersReply::Found(op.locks.iter().map(holder).collect())
}

fn holds(keys: &Keyspace, lock: &Lock) -> Result<bool, Refusal> {
    let holder = keys.text(&lock.key)?;
    Ok(holder.is_some_and(|holder| **holder == *lock.value.as_bytes()))
}

fn unlock(keys: &mut Keyspace, locks: &[&Lock]) {
    for lock in locks {
        keys.remove(&lock.key);
        keys.tell(channel(&lock.key));
    }
}

fn remove_all(keys: &mut Keyspace, entries: &[Entry]) -> u64 {
    let removed = entries.iter().filter(|entry| keys.remove(&entry.value));
    removed.count() as u64
}

/// The entries that somebody has a lease on: what is loaded for them must not be filled. Marks are
/// their writers' own: those with this token are found too, unless it is empty. A key of another
/// type holds none.
fn in_flight<'a>(
    keys: &Keyspace,
    entries: impl Iterator<Item = &'a Entry>,
    token: &str,
) -> Vec<(&'a Entry, Left)> {
    let after_change = |entry: &'a Entry| {
        let field = keys.field(&entry.leases, &entry.value).ok().flatten()?;
        Some((entry, flight::after_change(field, token)))
    };
    entries.filter_map(after_change).collect()
}

fn drop_flights(keys: &mut Keyspace, found: Vec<(&Entry, Left)>) {
    for (entry, left) in found {
        match left {
            Left::All => {}
            Left::Nothing => keys.remove_field(&entry.leases, &entry.value),
            Left::Marks(marks) => keys.set_field(&entry.leases, &entry.value, marks.into()),
        }
    }
}

fn is_own_lease(keys: &Keyspace, entry: &Entry, token: &str) -> Result<bool, Refusal> {
    let field = keys.field(&entry.leases, &entry.value)?;
    Ok(field.is_some_and(|field| flight::is_lease(field, token)))
}

fn put_lease(keys: &mut Keyspace, entry: &Entry, token: &str, life_ms: u64) {
    let expires_ms = keys.now_ms() + life_ms;
    put_flight(
        keys,
        entry,
        bytes(&flight::lease(token, expires_ms)),
        life_ms,
    );
}

fn put_flight(keys: &mut Keyspace, entry: &Entry, text: Bytes, life_ms: u64) {
    keys.set_field(&entry.leases, &entry.value, text);
    // The hash lives as long as its longest field.
    let left_ms = keys.left_ms(&entry.leases).flatten();
    if left_ms.is_none_or(|left| left < life_ms) {
        keys.live_for(&entry.leases, life_ms);
    }
}

fn fence_life() -> u64 {
    u64::try_from(limits::FENCE_LIFE.as_millis()).unwrap_or(u64::MAX)
}
