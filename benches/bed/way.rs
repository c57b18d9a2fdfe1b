//! The ways to save that are compared.
//!
//! To add one: implement [`Subject`] and add a variant to [`Way`]. Every table, plot and count then
//! includes it.

use super::{
    by_hand::{Bare, ByHand, Ping},
    library::{Library, Update},
    python::{Python, Script},
    scene::Scene,
    subject::Subject,
};
use cachetx::BoxError;

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Way {
    Ping,
    Bare,
    ByHand,
    Library,
    Update,
    UpdateAlone,
    RedisPy,
    RedisPyHelpers,
    Cacheops,
}

impl Way {
    /// The ways in this process; first the one that ratios refer to.
    pub const RUST: [Self; 6] = [
        Self::ByHand,
        Self::Library,
        Self::Update,
        Self::UpdateAlone,
        Self::Bare,
        Self::Ping,
    ];
    /// This library's ways.
    pub const SAVES: [Self; 3] = [Self::Library, Self::Update, Self::UpdateAlone];
    /// The ways in a Python process, which times them itself.
    pub const PYTHON: [Self; 3] = [Self::RedisPy, Self::RedisPyHelpers, Self::Cacheops];
    /// The ways whose allocations and instructions are counted.
    pub const COUNTED: [Self; 3] = [Self::Library, Self::UpdateAlone, Self::ByHand];
    pub const REFERENCE: Self = Self::ByHand;

    pub fn name(self) -> &'static str {
        match self {
            Self::Ping => "PING",
            Self::Bare => "bare MULTI",
            Self::ByHand => "by hand",
            Self::Library => "lock + commit",
            Self::Update => "update",
            Self::UpdateAlone => "update, no locks",
            Self::RedisPy => "redis-py, rules at call time",
            Self::RedisPyHelpers => "redis-py, Lock and pipeline",
            Self::Cacheops => "django-cacheops",
        }
    }

    pub fn description(self) -> &'static str {
        match self {
            Self::Ping => "one `PING`: what a round trip costs",
            Self::Bare => {
                "`MULTI`, `SET`, `UNLINK` of all dependents, `EXEC` in one round trip, without a lock"
            }
            Self::ByHand => {
                "on redis-rs: `SET NX PX` for the lock; `MULTI`, `SET`, `UNLINK` of all dependents, `EXEC`; a compare-and-delete \
                 script to unlock: three round trips, no fence, no check of the lock at the write, no stamp"
            }
            Self::Library => {
                "this library's `lock()` and `dump_and_unlock_with_transaction`, its own protocols on a real server with the file in \
                 memory (`testing::FilelessDocument`), the expansion of the rules included"
            }
            Self::Update => {
                "the same for `update()`, which asks for the lock and takes none, on an entry that is there and that no other way \
                 sets"
            }
            Self::UpdateAlone => "the same of a store without locks: one round trip",
            Self::RedisPy => {
                "`SET NX PX`, the rules file parsed at each save, `SET`, one `DEL` for each dependent, a script to unlock"
            }
            Self::RedisPyHelpers => {
                "redis-py's own helpers, `Lock` around a transaction `pipeline` of `SET` and one `DEL`; keys known beforehand"
            }
            Self::Cacheops => {
                "`cache.set` of the value and `invalidate_obj`, with one cached query for each dependent; no lock"
            }
        }
    }

    /// Opens it at `url` for the scene.
    pub fn open(self, url: &str, scene: &Scene) -> Result<Box<dyn Subject>, BoxError> {
        Ok(match self {
            Self::Ping => Box::new(Ping::new(url)?),
            Self::Bare => Box::new(Bare::new(url, scene)?),
            Self::ByHand => Box::new(ByHand::new(url, scene)?),
            Self::Library => Box::new(Library::new(url, scene)?),
            Self::Update => Box::new(Update::new(url, scene, true)?),
            Self::UpdateAlone => Box::new(Update::new(url, scene, false)?),
            Self::RedisPy => Box::new(Python::start(Script::RulesAtCall, url, scene)?),
            Self::RedisPyHelpers => Box::new(Python::start(Script::Helpers, url, scene)?),
            Self::Cacheops => Box::new(Python::start(Script::Cacheops, url, scene)?),
        })
    }
}
