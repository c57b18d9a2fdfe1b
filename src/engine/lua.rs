//! Runs operations as Lua on the server, as scripts or functions. The values of a commit are set in
//! the same transaction, before the call. If the server has lost the program, it is loaded and
//! called again.

use super::{
    call::Call,
    failure::{Failure, nonsense},
    reply::typed,
    session::Session,
    transaction,
    wire::Packed,
};
use crate::{
    model::Effect,
    op::{Op, Reply},
};
use redis::Value;

/// How the server is told which program to run.
pub(super) trait Program {
    fn pack(&self, call: &Call<'_>, packed: &mut Packed);

    /// Whether the server answers that it has no such program; then it has run nothing.
    fn is_missing(&self, reply: &Value) -> bool;

    fn pack_load(&self, packed: &mut Packed);

    /// Whether a program that is still missing after loading must be sent whole, by
    /// [`pack_whole`](Self::pack_whole).
    ///
    /// # Errors
    ///
    /// It was not loaded, for any other reason.
    fn is_to_be_whole(&self, loaded: &Value) -> Result<bool, Failure>;

    /// The call, with the program's full text.
    fn pack_whole(&self, call: &Call<'_>, packed: &mut Packed);
}

pub(super) async fn perform(
    session: &mut Session<'_>,
    op: &Op,
    call: &Call<'_>,
    program: &impl Program,
) -> Result<Reply, Failure> {
    let replies = session
        .exchange(|packed| step(program, call, packed, Program::pack))
        .await?;
    let mut reply = answer(session, call, replies)?;
    if program.is_missing(&reply) {
        session.peer.counters().count_reload();
        log::info!(
            "{}: the server lacks the program of {}; loading it",
            session.peer.shown_url(),
            call.name.as_str()
        );
        reply = load_and_call(session, call, program).await?;
    }
    session.forget_if_denied(&reply);
    match typed(op, reply) {
        // The values were set already.
        Err(Failure::Refused(error)) if call.has_values() => {
            Err(Failure::Midway(error.effect_is(Effect::Unknown)))
        }
        reply => reply,
    }
}

/// Takes one round trip if loading is allowed.
async fn load_and_call(
    session: &mut Session<'_>,
    call: &Call<'_>,
    program: &impl Program,
) -> Result<Value, Failure> {
    let mut replies = session
        .exchange(|packed| {
            program.pack_load(packed);
            step(program, call, packed, Program::pack);
        })
        .await?;
    let loaded = match replies.is_empty() {
        true => return Err(nonsense("no reply")),
        false => replies.remove(0),
    };
    let reply = answer(session, call, replies)?;
    // If loading failed, the program has not run either, unless somebody else has loaded it.
    if !program.is_missing(&reply) {
        return Ok(reply);
    }
    if !program.is_to_be_whole(&loaded)? {
        session.forgets_boot = true;
        return Ok(reply);
    }
    let replies = session
        .exchange(|packed| step(program, call, packed, Program::pack_whole))
        .await?;
    answer(session, call, replies)
}

/// The call, or the transaction that ends with it.
fn step<P: Program>(
    program: &P,
    call: &Call<'_>,
    packed: &mut Packed,
    pack: fn(&P, &Call<'_>, &mut Packed),
) {
    if !call.has_values() {
        return pack(program, call, packed);
    }
    packed.request(&[b"MULTI"]);
    call.pack_values(packed);
    pack(program, call, packed);
    packed.request(&[b"EXEC"]);
}

/// The program's own reply.
fn answer(
    session: &mut Session<'_>,
    call: &Call<'_>,
    mut replies: Vec<Value>,
) -> Result<Value, Failure> {
    if call.has_values() {
        replies = transaction::results(session, replies)?;
    }
    let reply = replies.pop().ok_or_else(|| nonsense("no reply"))?;
    // The program ran without that value.
    match replies.iter().find_map(transaction::refusal) {
        Some(error) => Err(Failure::Midway(error.effect_is(Effect::Unknown))),
        None => Ok(reply),
    }
}
