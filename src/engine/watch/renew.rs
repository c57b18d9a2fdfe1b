use super::attempt::{Attempt, Stop};
use crate::{
    engine::wire::Packed,
    model::limits,
    op::{Renew, RenewReply},
};
use redis::Value;

pub(super) async fn run(attempt: &mut Attempt<'_, '_>, op: &Renew) -> Result<RenewReply, Stop> {
    let lock = op.lock.key.as_str();
    let locks = attempt.locks();
    let read = |packed: &mut Packed| packed.request(&[b"GET", lock.as_bytes()]);
    let mut seen = attempt.look(&[lock], read, &[], |_| {}).await?;
    if seen.text()?.as_deref() != Some(op.lock.value.as_bytes()) {
        return Ok(RenewReply::Lost);
    }
    let ttl = op.ttl_ms.to_string();
    let fence_ttl = limits::FENCE_LIFE.as_millis().to_string();
    let done = attempt
        .write(|packed| {
            locks.pack(packed, |packed| {
                let fence = op.fence_key.as_bytes();
                packed.request(&[b"PEXPIRE", fence, fence_ttl.as_bytes()]);
                packed.request(&[b"PEXPIRE", lock.as_bytes(), ttl.as_bytes()]);
            });
        })
        .await?;
    // Outside a transaction the lock may have expired since.
    let mut expired = done.iter().rev().filter(|reply| **reply != Value::Okay);
    Ok(match expired.next() {
        Some(Value::Int(1)) => RenewReply::Done,
        _ => RenewReply::Lost,
    })
}
