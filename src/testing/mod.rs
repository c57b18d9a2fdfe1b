//! What the library's own tests use and its users can (feature `testing`).
//!
//! - [`Server`]: a private throw-away Redis or Valkey, ended with the test, even one that is killed.
//! - [`ServerBinary`]: the servers that this machine has (`make servers` fetches them).
//! - [`MemoryServer`]: a server inside the process, which can be stopped and whose time can be advanced.
//! - [`Proxy`]: stands between a client and a server; counts round trips on the wire, and loses replies on demand.

mod binary;
mod proxy;
mod server;
mod wire;

pub use crate::engine::MemoryServer;
pub use binary::{Flavour, ServerBinary};
pub use proxy::{Proxy, Traffic};
pub use server::{Server, ServerOptions};
