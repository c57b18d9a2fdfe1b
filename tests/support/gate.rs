//! A way to a server that can be closed: the server and its content stay, and nobody can reach it.

use super::World;
use std::{
    os::unix::fs::symlink,
    path::{Path, PathBuf},
};

/// A symbolic link to the server's socket. Closing it removes it and cuts every connection.
pub struct Gate {
    link: PathBuf,
    socket: PathBuf,
}

impl Gate {
    /// An open gate, in a folder.
    pub fn new(world: &World, folder: &Path) -> Self {
        let url = world.server.unix_url();
        let socket = url.strip_prefix("redis+unix://").expect("a socket's URL");
        let gate = Self {
            link: folder.join("gate.sock"),
            socket: socket.split('?').next().unwrap_or(socket).into(),
        };
        gate.open();
        gate
    }

    pub fn url(&self) -> String {
        format!("redis+unix://{}", self.link.display())
    }

    pub fn open(&self) {
        symlink(&self.socket, &self.link).expect("opened");
    }

    /// Requests in flight are cut off: they may have been executed.
    pub fn close(&self, world: &World) {
        std::fs::remove_file(&self.link).expect("closed");
        redis::cmd("CLIENT")
            .arg(&["KILL", "TYPE", "normal", "SKIPME", "yes"])
            .exec(&mut world.redis())
            .expect("cut");
    }
}
