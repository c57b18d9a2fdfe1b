//! How operations run on one server.

use super::{library::Library, source::Scripts};

/// How operations run on one server.
pub(super) enum Mode {
    /// As the scripts that the server understands.
    Script(Scripts),
    Function(Library),
    /// Without Lua.
    Watch,
}
