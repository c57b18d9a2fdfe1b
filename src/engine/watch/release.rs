use super::attempt::{Attempt, Stop};
use crate::op::{Release, ReleaseReply};

pub(super) fn run(attempt: &mut Attempt<'_, '_>, op: &Release) -> Result<ReleaseReply, Stop> {
    let lock = op.lock.key.as_str();
    let mut seen = attempt.look([lock].into_iter(), |packed| {
        packed.request(&[b"GET", lock.as_bytes()]);
    })?;
    if seen.text()?.as_deref() != Some(op.lock.value.as_bytes()) {
        return Ok(ReleaseReply::Lost);
    }
    attempt.write(|packed| packed.request(&[b"UNLINK", lock.as_bytes()]))?;
    Ok(ReleaseReply::Done)
}
