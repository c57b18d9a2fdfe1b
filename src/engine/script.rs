//! Runs operations as Lua scripts: EVALSHA, with a reload if the server has lost the script.

use super::{
    call::Call,
    failure::{Failure, nonsense},
    lua::Program,
    reply::{code, is_denied, server_error},
    source::{Script, Scripts},
    wire::Packed,
};
use redis::Value;

impl Program for Script {
    fn pack(&self, call: &Call<'_>, packed: &mut Packed) {
        call.pack(self, packed);
    }

    fn is_missing(&self, reply: &Value) -> bool {
        code(reply) == Some("NOSCRIPT")
    }

    fn pack_load(&self, packed: &mut Packed) {
        packed.request(&[b"SCRIPT", b"LOAD", self.text.as_bytes()]);
    }

    fn is_to_be_whole(&self, loaded: &Value) -> Result<bool, Failure> {
        if is_denied(loaded) {
            return Ok(true);
        }
        check_sha(&self.sha, loaded).map(|()| false)
    }

    fn pack_whole(&self, call: &Call<'_>, packed: &mut Packed) {
        call.pack_whole(self, packed);
    }
}

pub(super) fn pack_loads(scripts: &Scripts, packed: &mut Packed) {
    for script in scripts.iter() {
        script.pack_load(packed);
    }
}

/// Compares the server's digests with ours.
pub(super) fn checked(scripts: Scripts, replies: &[Value]) -> Result<Scripts, Failure> {
    if replies.len() != scripts.iter().len() {
        return Err(nonsense("SCRIPT LOAD"));
    }
    for (script, reply) in scripts.iter().zip(replies) {
        check_sha(&script.sha, reply)?;
    }
    Ok(scripts)
}

/// Checks that `reply` to SCRIPT LOAD is the digest for EVALSHA.
fn check_sha(sha: &str, reply: &Value) -> Result<(), Failure> {
    match reply {
        Value::BulkString(answer) if answer == sha.as_bytes() => Ok(()),
        Value::ServerError(error) => Err(Failure::Refused(server_error(error))),
        _ => Err(nonsense("SCRIPT LOAD gave another digest")),
    }
}
