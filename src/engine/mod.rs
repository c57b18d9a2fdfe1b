//! Runs server operations and heals what a server forgets; decides nothing.

mod acl;
mod acquire;
mod address;
mod boot;
mod breaker;
mod call;
mod config;
mod connections;
mod counters;
mod credentials;
mod door;
mod facts;
mod failure;
mod foreign;
mod function;
#[cfg(feature = "testing")]
pub(crate) mod fuzz;
mod library;
mod link;
#[cfg(feature = "tokio")]
mod links;
mod lua;
mod memory;
mod messages;
mod mode;
mod net;
mod node;
mod notice;
mod peer;
mod plain;
mod pool;
mod redirect;
mod refusal;
mod replicas;
mod reply;
mod report;
mod room;
mod run_id;
mod script;
mod served;
mod session;
mod source;
mod survey;
#[cfg(all(test, feature = "testing"))]
mod tests;
mod tls_options;
mod topology;
mod transaction;
mod warning;
mod watch;
mod wire;

pub use acl::Acl;
pub(crate) use breaker::Breaker;
pub use breaker::BreakerState;
pub(crate) use config::{ServerConfig, TopologyConfig};
pub(crate) use counters::Counters;
pub use credentials::Credentials;
pub(crate) use credentials::CredentialsSource;
pub use library::FunctionLibrary;
pub(crate) use memory::MemoryEngine;
pub use memory::MemoryServer;
pub(crate) use messages::{Bells, Ear, Watch};
#[cfg(cachetx_by_tasks)]
pub(crate) use net::by_tasks;
#[cfg(feature = "tokio")]
pub(crate) use net::nobody_waits;
pub(crate) use net::{Net, now as at_once};
pub use report::{EngineReport, ServerFacts};
pub(crate) use run_id::{RunId, Servers};
pub(crate) use served::ServerEngine;
pub use tls_options::TlsOptions;

use crate::op::{Fault, Op, Reply, Space};
use std::sync::Arc;

/// How operations run on the server.
///
/// # Examples
///
/// ```
/// use cachetx::{Cache, Engine, Rules};
///
/// let cache = Cache::builder(Rules::from_path("rules/shop.json")?)
///     .url("redis://127.0.0.1/")
///     .engine(Engine::Function)
///     .open_lazy()?;
/// # drop(cache);
/// # Ok::<(), cachetx::Error>(())
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Engine {
    /// The best one that the server allows. The default.
    #[default]
    Auto,
    /// Lua scripts (EVALSHA), loaded at boot and again whenever the server has lost them.
    Script,
    /// The same Lua as functions of a library (FCALL), which the server keeps over restarts and replicates. Redis from 7.0
    /// on, and Valkey.
    Function,
    /// WATCH, reads and MULTI … EXEC, without any Lua: for servers that have no scripts. Two round trips an operation, and
    /// more where other clients change the same keys.
    Watch,
}

/// What runs an operation as one atomic step.
pub(crate) trait Performer: Send + Sync + 'static {
    /// Runs `op`. A lost reply is [`Fault::Unknown`], never "not done".
    fn perform(&self, op: &Op) -> Result<Reply, Fault>;

    /// The same, with the server that did it.
    fn take(&self, op: &Op) -> Result<Taken, Fault> {
        let reply = self.perform(op)?;
        Ok(Taken { reply, by: None })
    }

    /// The same in a task.
    #[cfg(feature = "tokio")]
    fn take_in_task<'a>(&'a self, op: &'a Op) -> Taking<'a> {
        Box::pin(std::future::ready(self.take(op)))
    }

    /// What its last boot found; `None` while no server was reached.
    fn report(&self) -> Option<EngineReport>;

    /// Which keys one operation may have.
    fn space(&self) -> Space {
        Space::Whole
    }

    fn counters(&self) -> &Counters;

    /// Where to listen to messages about locks. Not before [`listens`](Self::listens) was called do any come.
    fn bells(&self) -> &Arc<Bells>;

    /// Somebody listens.
    fn listens(&self) {}

    /// Lets threads of its own go.
    fn close(&self) {}

    /// Asks all servers that take writes which run of them it is.
    fn servers(&self) -> Result<Servers, Fault> {
        Ok(Servers::default())
    }
}

/// An operation on its way.
#[cfg(feature = "tokio")]
pub(crate) type Taking<'a> =
    std::pin::Pin<Box<dyn Future<Output = Result<Taken, Fault>> + Send + 'a>>;

/// An operation that was done.
#[derive(Debug)]
pub(crate) struct Taken {
    pub(crate) reply: Reply,
    /// Of an operation whose effect a server may lose with its memory ([`Op::is_echoed`]); `None` where the server cannot.
    pub(crate) by: Option<RunId>,
}
