use super::attempt::{Attempt, Stop, refuse};
use crate::{
    model::limits,
    op::{Acquire, AcquireReply},
};

pub(super) async fn run(attempt: &mut Attempt<'_, '_>, op: &Acquire) -> Result<AcquireReply, Stop> {
    let (lock, fence) = (op.lock.key.as_str(), op.fence_key.as_str());
    let locks = attempt.locks();
    let mut seen = attempt
        .look(
            &[lock, fence],
            |packed| {
                packed.request(&[b"GET", lock.as_bytes()]);
                packed.request(&[b"PTTL", lock.as_bytes()]);
                packed.request(&[b"GET", fence.as_bytes()]);
            },
            &[],
            |_| {},
        )
        .await?;
    let (holder, left) = (seen.text()?, seen.number()?);
    if let Some(holder) = holder.filter(|holder| *holder != op.lock.value.as_bytes()) {
        return Ok(AcquireReply::Held {
            value: String::from_utf8_lossy(&holder).into_owned(),
            left_ms: match left {
                -1 => u64::MAX,
                left => u64::try_from(left).unwrap_or(0),
            },
        });
    }
    let ttl = op.ttl_ms.to_string();
    let stored = seen.text()?.map_or(Some(0), |text| decimal(&text));
    let stored = stored.ok_or_else(|| {
        refuse(&format!(
            "the stored fence is not a decimal number: {fence}"
        ))
    })?;
    let last = stored.max(op.floor);
    if last > limits::MAX_FENCE {
        return Err(refuse("the fence cannot grow any more"));
    }
    let next = (last + 1).to_string();
    let fence_ttl = limits::FENCE_LIFE.as_millis().to_string();
    attempt
        .write(|packed| {
            locks.pack(packed, |packed| {
                let (lock, fence) = (lock.as_bytes(), fence.as_bytes());
                packed.request(&[b"SET", fence, next.as_bytes(), b"PX", fence_ttl.as_bytes()]);
                packed.request(&[
                    b"SET",
                    lock,
                    op.lock.value.as_bytes(),
                    b"PX",
                    ttl.as_bytes(),
                ]);
            });
        })
        .await?;
    Ok(AcquireReply::Acquired { fence: last + 1 })
}

/// A number as the server's own counters write it: no sign, no leading zeros, no longer than a
/// 64-bit number.
pub(super) fn decimal(text: &[u8]) -> Option<u64> {
    let number: u64 = std::str::from_utf8(text).ok()?.parse().ok()?;
    (number <= limits::MAX_DECIMAL && number.to_string().as_bytes() == text).then_some(number)
}
