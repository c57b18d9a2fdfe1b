use super::{
    attempt::{Attempt, Stop},
    flights::{self, Flight},
    stamps::{self, Stored},
};
use crate::{
    engine::call::Call,
    op::{Invalidate, InvalidateReply},
};

pub(super) async fn run(
    attempt: &mut Attempt<'_, '_>,
    op: &Invalidate,
    call: &Call<'_>,
) -> Result<InvalidateReply, Stop> {
    let style = attempt.style();
    let flights: Vec<Flight<'_>> = flights::of(call).collect();
    let lock = op.release.as_ref();
    let locks = attempt.locks();
    let lock_key: Vec<&str> = lock.into_iter().map(|lock| lock.key.as_str()).collect();
    // A full server has no memory for raised stamps.
    let raises = match style.one_by_one {
        true => &[],
        false => &*op.raises,
    };
    let stamps: Vec<String> = raises.iter().map(|it| stamps::key(&it.value)).collect();
    let leases = flights.iter().map(|flight| flight.leases);
    let keys: Vec<&str> = stamps.iter().map(String::as_str).chain(leases).collect();
    let mut seen = attempt
        .look(
            &lock_key,
            |packed| {
                for key in &lock_key {
                    packed.request(&[b"GET", key.as_bytes()]);
                }
            },
            &keys,
            |packed| {
                flights::pack_mget(&keys[..stamps.len()], packed);
                flights::pack_reads(&flights, style, packed);
            },
        )
        .await?;
    let mut held = None;
    if let Some(lock) = lock {
        let mine = seen.text()?.as_deref() == Some(lock.value.as_bytes());
        held = mine.then_some(lock.key.as_str());
    }
    let stored = Stored::read(&stamps, &mut seen)?;
    let change = flights::change(&flights, style, &op.token, &mut seen)?;
    let values: Vec<&str> = op
        .entries
        .iter()
        .map(|entry| entry.value.as_str())
        .collect();
    if values.is_empty() && held.is_none() {
        return Ok(InvalidateReply::Removed(0));
    }
    let freed: Vec<&str> = held.into_iter().collect();
    let done = attempt
        .write_and_tell(&freed, |packed| {
            change.pack_drop(packed);
            flights::pack_unlink(&values, packed);
            change.pack_keep(packed);
            for (index, it) in raises.iter().enumerate() {
                stored.raise(index, &it.stamp, it.ttl_ms, packed);
            }
            if let Some(lock) = held {
                locks.pack(packed, |packed| {
                    packed.request(&[b"UNLINK", lock.as_bytes()])
                });
            }
        })
        .await?;
    let unlinks = &done[change.dropped.len()..][..flights::chunks(&values)];
    Ok(InvalidateReply::Removed(flights::removed(unlinks)))
}
