//! A TCP or Unix socket whose calls end in time and are continued after signals.

use crate::model::limits;
use redis::io::tcp::socket2::{self, Domain, SockAddr, TcpKeepalive, Type};
use std::{
    io::{self, Read, Write},
    net::{TcpStream, ToSocketAddrs as _},
    path::Path,
    time::{Duration, Instant},
};

/// How long a call may take.
#[derive(Clone, Copy, Debug)]
pub(super) enum Bound {
    /// Each call this long.
    Each(Duration),
    /// All calls together until then.
    Until(Instant),
}

/// Bytes to and from a server, over a plain socket or TLS.
pub(super) trait Wire: Read + Write + Send {
    fn socket(&mut self) -> &mut Socket;
}

#[derive(Debug)]
pub(super) struct Socket {
    inner: socket2::Socket,
    bound: Bound,
}

impl Wire for Socket {
    fn socket(&mut self) -> &mut Socket {
        self
    }
}

/// Sets the socket's own time-out for reading or for writing.
type Arm = fn(&socket2::Socket, Option<Duration>) -> io::Result<()>;

/// The time left, as a socket's time-out. At least 1 ms: a time-out of zero means none, and the
/// socket counts in microseconds.
fn left(until: Instant) -> io::Result<Option<Duration>> {
    match until.saturating_duration_since(Instant::now()) {
        Duration::ZERO => Err(io::ErrorKind::TimedOut.into()),
        left => Ok(Some(left.max(Duration::from_millis(1)))),
    }
}

impl Socket {
    /// Connects to the first address of that name that accepts. Each address gets an equal share of
    /// the time left.
    pub(super) fn tcp(host: &str, port: u16, until: Instant) -> io::Result<Self> {
        let addresses: Vec<_> = (host, port).to_socket_addrs()?.collect();
        let mut last = io::Error::new(io::ErrorKind::NotFound, "the name has no address");
        for (n, address) in addresses.iter().enumerate() {
            let left = left(until)?.unwrap_or_default();
            let share = left / u32::try_from(addresses.len() - n).unwrap_or(1);
            match TcpStream::connect_timeout(address, share.max(Duration::from_millis(1))) {
                Ok(stream) => {
                    stream.set_nodelay(true)?;
                    let keepalive = TcpKeepalive::new().with_time(limits::TCP_KEEPALIVE);
                    let inner = socket2::Socket::from(stream);
                    inner.set_tcp_keepalive(&keepalive)?;
                    return Self::bound(inner, until);
                }
                Err(e) => last = e,
            }
        }
        Err(last)
    }

    pub(super) fn unix(path: &Path, until: Instant) -> io::Result<Self> {
        let inner = socket2::Socket::new(Domain::UNIX, Type::STREAM, None)?;
        let address = SockAddr::unix(path)?;
        loop {
            inner.set_write_timeout(left(until)?)?;
            match inner.connect(&address) {
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                done => {
                    done?;
                    return Self::bound(inner, until);
                }
            }
        }
    }

    fn bound(inner: socket2::Socket, until: Instant) -> io::Result<Self> {
        let bound = Bound::Until(until);
        Ok(Self { inner, bound })
    }

    pub(super) fn bind(&mut self, bound: Bound) -> io::Result<()> {
        self.bound = bound;
        if let Bound::Each(patience) = bound {
            self.inner.set_read_timeout(Some(patience))?;
            self.inner.set_write_timeout(Some(patience))?;
        }
        Ok(())
    }

    /// From now on, calls that would wait fail. Returns a second handle on the socket, which tells
    /// when they would not.
    #[cfg(feature = "tokio")]
    pub(super) fn go_on_without_blocking(&mut self) -> io::Result<socket2::Socket> {
        self.inner.set_nonblocking(true)?;
        self.inner.try_clone()
    }

    /// Continues an interrupted call with the time that it had left. Every signal interrupts a call
    /// on a socket with a time-out, even a signal that is set to restart system calls.
    fn call(
        &self,
        arm: Arm,
        mut call: impl FnMut(&socket2::Socket) -> io::Result<usize>,
    ) -> io::Result<usize> {
        let until = match self.bound {
            Bound::Each(patience) => Instant::now() + patience,
            Bound::Until(until) => {
                arm(&self.inner, left(until)?)?;
                until
            }
        };
        let mut done = call(&self.inner);
        let mut shortened = false;
        while cfg!(not(cachetx_without_retries_on_signals))
            && matches!(&done, Err(e) if e.kind() == io::ErrorKind::Interrupted)
        {
            shortened = true;
            done = left(until)
                .and_then(|left| arm(&self.inner, left))
                .and_then(|()| call(&self.inner));
        }
        if let (true, Bound::Each(patience)) = (shortened, self.bound) {
            arm(&self.inner, Some(patience))?;
        }
        done
    }
}

impl Read for Socket {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = |mut socket: &socket2::Socket| socket.read(buffer);
        self.call(socket2::Socket::set_read_timeout, read)
    }
}

impl Write for Socket {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let write = |mut socket: &socket2::Socket| socket.write(bytes);
        self.call(socket2::Socket::set_write_timeout, write)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
