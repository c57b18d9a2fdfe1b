//! Runs operations as functions of one library: FCALL, with a reload if the server has lost the
//! library.

use super::{
    call::Call,
    failure::{Failure, nonsense},
    library::FunctionLibrary,
    lua::Program,
    reply::server_error,
    wire::Packed,
};
use redis::Value;

impl Program for FunctionLibrary {
    fn pack(&self, call: &Call<'_>, packed: &mut Packed) {
        call.pack_function(self.function(call.name), packed);
    }

    fn is_missing(&self, reply: &Value) -> bool {
        match reply {
            Value::ServerError(error) => {
                error.code() == "ERR" && error.details() == Some("Function not found")
            }
            _ => false,
        }
    }

    /// Without REPLACE: the name identifies the content, so the same name is the same library.
    fn pack_load(&self, packed: &mut Packed) {
        packed.request(&[b"FUNCTION", b"LOAD", self.text().as_bytes()]);
    }

    fn is_to_be_whole(&self, loaded: &Value) -> Result<bool, Failure> {
        check_loaded(self, loaded).map(|()| false)
    }

    /// A function can be called in no other way.
    fn pack_whole(&self, call: &Call<'_>, packed: &mut Packed) {
        self.pack(call, packed);
    }
}

/// Checks that the library is there now, loaded by this or by another process.
pub(super) fn check_loaded(library: &FunctionLibrary, reply: &Value) -> Result<(), Failure> {
    match reply {
        Value::BulkString(name) if name == library.name().as_bytes() => Ok(()),
        Value::ServerError(error) if is_there_already(error.details()) => Ok(()),
        Value::ServerError(error) => Err(Failure::Refused(server_error(error))),
        _ => Err(nonsense("FUNCTION LOAD gave another name")),
    }
}

fn is_there_already(details: Option<&str>) -> bool {
    details.is_some_and(|text| text.starts_with("Library") && text.ends_with("already exists"))
}
