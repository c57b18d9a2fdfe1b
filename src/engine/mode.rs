//! How operations run on one server.

use super::{library::FunctionLibrary, source::Scripts};

/// How operations run on one server.
pub(super) enum Mode {
    /// As scripts in a dialect that the server understands.
    Script(Scripts),
    Function(FunctionLibrary),
    /// Without Lua.
    Watch,
}
