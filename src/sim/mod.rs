//! A deterministic simulation of processes, a file system and a server, in which everything that can go wrong does.
//!
//! ```text
//! tests    power_loss · crash_points · two_writers · late_requests · updates · around · transactions · histories · outboxes
//! cast     writers, readers, loaders, replayers: scripts that drive the protocols as the API does
//! turns    a play: the order of turns, what else may happen
//! world    who is next; crashes; time
//!   actor      one script, stopped before each action
//!   server     the operations' model, and the fate of each request
//!   outbox     the outboxes of all processes
//!   (disk::sim the file system: what is visible, and what would survive a power loss)
//! choices  whatever is open is a choice between n: counted through, or random with a seed that repeats it
//! ```
//!
//! The protocols are the library's own; so is the model of the server, which the engines are held against; and the simulated
//! disk is held against the real one. What is not simulated: threads of one process, the in-process snapshots but for
//! their stamps, and the real outbox's files.

mod actor;
mod cast;
mod choices;
mod outbox;
mod server;
mod tests;
mod turns;
mod world;
