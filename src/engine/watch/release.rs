use super::attempt::{Attempt, Stop};
use crate::{
    engine::wire::Packed,
    op::{Release, ReleaseReply},
};

pub(super) async fn run(attempt: &mut Attempt<'_, '_>, op: &Release) -> Result<ReleaseReply, Stop> {
    let lock = op.lock.key.as_str();
    let locks = attempt.locks();
    let read = |packed: &mut Packed| packed.request(&[b"GET", lock.as_bytes()]);
    let mut seen = attempt.look(&[lock], read, &[], |_| {}).await?;
    if seen.text()?.as_deref() != Some(op.lock.value.as_bytes()) {
        return Ok(ReleaseReply::Lost);
    }
    attempt
        .write_and_tell(&[lock], |packed| {
            locks.pack(packed, |packed| {
                packed.request(&[b"UNLINK", lock.as_bytes()])
            });
        })
        .await?;
    Ok(ReleaseReply::Done)
}
