//! The engines, as the command line names them.

use cachetx::Engine;

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Name {
    /// Script where the server allows it, else Watch
    #[default]
    Auto,
    /// Lua scripts
    Script,
    /// A library of functions: Redis from 7.0 on, and Valkey
    Function,
    /// WATCH and MULTI, without Lua
    Watch,
}

impl From<Name> for Engine {
    fn from(name: Name) -> Self {
        match name {
            Name::Auto => Self::Auto,
            Name::Script => Self::Script,
            Name::Function => Self::Function,
            Name::Watch => Self::Watch,
        }
    }
}
