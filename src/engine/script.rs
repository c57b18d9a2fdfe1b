//! Runs operations as Lua scripts: EVALSHA, healed where the server has lost the script.

use super::{
    call::Call,
    lua::Program,
    reply::{code, is_denied, server_error},
    session::{Failure, Session, nonsense},
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

    fn load_and_call(&self, session: &mut Session<'_>, call: &Call<'_>) -> Result<Value, Failure> {
        let text = self.text.as_bytes();
        let [loaded, reply] = session.ask_two(|packed| {
            packed.request(&[b"SCRIPT", b"LOAD", text]);
            call.pack(self, packed);
        })?;
        if is_denied(&loaded) && self.is_missing(&reply) {
            return session.ask(|packed| call.pack_whole(self, packed));
        }
        // One that was not loaded has not run either, unless somebody else was faster.
        if self.is_missing(&reply) {
            session.node.forget_boot();
            check_sha(&self.sha, &loaded)?;
        }
        Ok(reply)
    }
}

pub(super) fn pack_loads(scripts: &Scripts, packed: &mut Packed) {
    for script in scripts.iter() {
        packed.request(&[b"SCRIPT", b"LOAD", script.text.as_bytes()]);
    }
}

/// Holds the server's digests against ours.
pub(super) fn checked(scripts: Scripts, replies: &[Value]) -> Result<Scripts, Failure> {
    if replies.len() != scripts.iter().len() {
        return Err(nonsense("SCRIPT LOAD"));
    }
    for (script, reply) in scripts.iter().zip(replies) {
        check_sha(&script.sha, reply)?;
    }
    Ok(scripts)
}

/// Whether `reply` to SCRIPT LOAD is the digest that EVALSHA will be called with.
fn check_sha(sha: &str, reply: &Value) -> Result<(), Failure> {
    match reply {
        Value::BulkString(answer) if answer == sha.as_bytes() => Ok(()),
        Value::ServerError(error) => Err(Failure::Refused(server_error(error))),
        _ => Err(nonsense("SCRIPT LOAD gave another digest")),
    }
}
