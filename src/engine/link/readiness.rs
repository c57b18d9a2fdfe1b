//! Tells when a connection's socket can be read or written, by tokio.

use redis::{RedisResult, io::tcp::socket2::Socket};
use std::io;
use tokio::{
    io::Interest,
    net::{TcpStream, UnixStream},
};

/// A second handle on the connection's socket, which tells when it can be read or written.
pub(super) enum Readiness {
    Tcp(TcpStream),
    Unix(UnixStream),
}

impl Readiness {
    /// The socket must not block.
    pub(super) fn of(socket: Socket) -> io::Result<Self> {
        Ok(match socket.local_addr()?.is_unix() {
            true => Self::Unix(UnixStream::from_std(socket.into())?),
            false => Self::Tcp(TcpStream::from_std(socket.into())?),
        })
    }

    pub(super) async fn until(&self, interest: Interest) -> io::Result<()> {
        let ready = match self {
            Self::Tcp(socket) => socket.ready(interest).await,
            Self::Unix(socket) => socket.ready(interest).await,
        };
        ready.map(drop)
    }

    /// Runs `work` if the socket is ready. `work` returns `true` if it would have to wait. Returns
    /// `true` unless `work` fails.
    pub(super) fn while_ready(
        &self,
        interest: Interest,
        work: impl FnOnce() -> RedisResult<bool>,
    ) -> RedisResult<bool> {
        let mut failed = None;
        let work = || match work() {
            Ok(true) => Err(io::ErrorKind::WouldBlock.into()),
            Ok(false) => Ok(()),
            Err(e) => {
                failed = Some(e);
                Ok(())
            }
        };
        // The result only tells tokio whether the socket would block.
        let _ = match self {
            Self::Tcp(socket) => socket.try_io(interest, work),
            Self::Unix(socket) => socket.try_io(interest, work),
        };
        failed.map_or(Ok(true), Err)
    }
}
