//! Runs server operations and restores what a server forgets. Makes no decisions.

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
    /// The same Lua as functions of a library (FCALL), which the server keeps across restarts and
    /// replicates. Redis from 7.0 on, and Valkey.
    Function,
    /// WATCH, reads and MULTI … EXEC, without any Lua: for servers without scripts. Two round trips
    /// per operation, and more if other clients change the same keys.
    Watch,
}

/// Runs operations, each as one atomic step.
pub(crate) trait Performer: Send + Sync + 'static {
    /// Runs `op`. A lost reply is [`Fault::Unknown`], never "not done".
    fn perform(&self, op: &Op) -> Result<Reply, Fault>;

    /// Like `perform`; also returns the server that did it.
    fn take(&self, op: &Op) -> Result<Taken, Fault> {
        let reply = self.perform(op)?;
        Ok(Taken { reply, by: None })
    }

    /// Like `take`, in a task.
    #[cfg(feature = "tokio")]
    fn take_in_task<'a>(&'a self, op: &'a Op) -> Taking<'a> {
        Box::pin(std::future::ready(self.take(op)))
    }

    /// What the last boot found; `None` if no server was reached.
    fn report(&self) -> Option<EngineReport>;

    /// Which keys one operation may have.
    fn space(&self) -> Space {
        Space::Whole
    }

    fn counters(&self) -> &Counters;

    /// Where to listen for messages about locks. None arrive before [`listens`](Self::listens) was
    /// called.
    fn bells(&self) -> &Arc<Bells>;

    /// Called when a listener registers; starts the subscriber.
    fn listens(&self) {}

    /// Stops background threads.
    fn close(&self) {}

    /// Reads the run id of each server that takes writes.
    fn servers(&self) -> Result<Servers, Fault> {
        Ok(Servers::default())
    }
}

/// An operation that is under way.
#[cfg(feature = "tokio")]
pub(crate) type Taking<'a> =
    std::pin::Pin<Box<dyn Future<Output = Result<Taken, Fault>> + Send + 'a>>;

/// A completed operation.
#[derive(Debug)]
pub(crate) struct Taken {
    pub(crate) reply: Reply,
    /// For an operation whose effect a server may lose with its memory ([`Op::is_echoed`]); `None`
    /// if this server cannot lose it.
    pub(crate) by: Option<RunId>,
}
