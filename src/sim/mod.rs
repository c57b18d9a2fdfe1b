//! A deterministic simulation of processes, a file system and a server, in which everything that
//! can go wrong does go wrong.
//!
//! ```text
//! tests    power_loss · crash_points · two_writers · late_requests · updates · around · dropped ·
//!          transactions · histories · outboxes
//! calls    the API's calls, for threads or tasks: guards, and what runs in a task of its own
//! cast     writers, readers, replayers: scripts that drive the protocols
//! turns    a play: the order of turns, what else may happen
//! world    who is next; crashes; time
//!   actor      one script, stopped before each action
//!   server     the operations' model, and the fate of each request
//!   outbox     the outboxes of all processes
//!   (disk::sim the file system: what is visible, and what would survive a power loss)
//! choices  whatever is open is a choice between n: counted through, or random with a seed that repeats it
//! ```
//!
//! The protocols are the library's own. The model of the server is compared with the engines, and
//! the simulated disk with the real one. Not simulated: threads of one process, in-process
//! snapshots except for their stamps, and the files of the real outbox.

mod actor;
mod calls;
mod cast;
mod choices;
mod outbox;
mod server;
mod tests;
mod turns;
mod world;
