//! A proxy between a client and a server.

use super::wire::Requests;
use rustix::{io::Errno, net::RecvFlags};
use std::{
    collections::VecDeque,
    io::{self, Read as _, Write as _},
    net::{Shutdown, SocketAddr, TcpListener, TcpStream},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::Duration,
};

const BUFFER_BYTES: usize = 64 * 1024;

/// What has passed through a [`Proxy`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Traffic {
    /// Connections that clients opened.
    pub connections: u64,
    /// Requests; each request of a pipeline counts. Not counted if the stream is TLS.
    pub requests: u64,
    /// How often a client sent something for the first time or after it had received something: the
    /// times that it waited.
    pub round_trips: u64,
    /// Bytes that clients sent.
    pub bytes_up: u64,
    /// Bytes that the server sent.
    pub bytes_down: u64,
}

/// Forwards TCP to a server, counts what passes, and loses or delays it on demand.
///
/// Counting starts with the set-up of the connection, so call [`reset`](Self::reset) once the
/// connection is warm.
///
/// # Examples
/// ```
/// use cachetx::testing::{Proxy, Server, ServerBinary};
///
/// if let Some(binary) = ServerBinary::any() {
///     let server = Server::start(binary)?;
///     let proxy = Proxy::start(server.port())?;
///     assert_eq!(proxy.traffic().round_trips, 0);
///     println!("connect to {}", proxy.url());
/// }
/// # Ok::<(), std::io::Error>(())
/// ```
#[derive(Debug)]
pub struct Proxy {
    port: u16,
    shared: Arc<Shared>,
}

#[derive(Debug, Default)]
struct Shared {
    state: Mutex<State>,
    stopped: AtomicBool,
}

#[derive(Debug, Default)]
struct State {
    traffic: Traffic,
    faults: VecDeque<Armed>,
    delay: Duration,
    open: Vec<TcpStream>,
    /// Requests on their way, each with its own connection to the server.
    held: VecDeque<(Vec<u8>, TcpStream)>,
    /// Somebody else's request, sent first whenever a request with these bytes passes.
    #[cfg(test)]
    first: Option<(&'static [u8], Vec<u8>)>,
}

/// What a [`Proxy`] does to one request or its reply.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum WireFault {
    /// Loses the reply and closes the connection: the server did the work, and the client gets the
    /// end of the stream.
    DropReply,
    /// Loses the reply and leaves the connection open: the client waits until its time-out.
    SwallowReply,
    /// Passes half of the reply on and closes the connection.
    TruncateReply,
    /// Passes the reply on after this time.
    DelayReply(Duration),
    /// Loses the request and closes the connection: the server never sees it.
    DropRequest,
    /// Loses the request and leaves the connection open: the server never sees it, and the client
    /// waits until its time-out.
    SwallowRequest,
    /// Closes the client's connection and keeps the request, which counts as still on its way,
    /// until [`Proxy::deliver`].
    HoldRequest,
}

/// A fault that is waiting for its request.
#[derive(Debug)]
struct Armed {
    fault: WireFault,
    /// Must be in the request's bytes; an empty one matches any request.
    needle: Vec<u8>,
}

impl Proxy {
    /// Forwards from a free port of 127.0.0.1 to `server_port` of 127.0.0.1.
    ///
    /// # Errors
    /// No port can be bound.
    pub fn start(server_port: u16) -> io::Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0")?;
        let port = listener.local_addr()?.port();
        let shared = Arc::new(Shared::default());
        let accepting = Arc::clone(&shared);
        thread::spawn(move || {
            for client in listener.incoming().flatten() {
                if accepting.stopped.load(Ordering::SeqCst) {
                    return;
                }
                // If the server is down, the client's connection is closed at once.
                if let Ok(server) = TcpStream::connect(("127.0.0.1", server_port)) {
                    let _ = accepting.join(client, server);
                }
            }
        });
        Ok(Self { port, shared })
    }

    /// The port that clients connect to.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The URL that clients connect to.
    #[must_use]
    pub fn url(&self) -> String {
        format!("redis://127.0.0.1:{}/", self.port)
    }

    /// What has passed since the start or since the last [`reset`](Self::reset).
    #[must_use]
    pub fn traffic(&self) -> Traffic {
        self.shared.lock().traffic
    }

    /// Restarts counting from zero.
    pub fn reset(&self) {
        self.shared.lock().traffic = Traffic::default();
    }

    /// Applies a fault to the next request, or to its reply. Each fault hits one request, in the
    /// order in which they are injected.
    pub fn inject(&self, fault: WireFault) {
        self.inject_at(fault, b"");
    }

    /// Applies a fault to the next request or pipeline that contains these bytes (`EVALSHA`,
    /// `EXEC`, a key), or to its reply.
    pub fn inject_at(&self, fault: WireFault, needle: &[u8]) {
        self.shared.lock().faults.push_back(Armed {
            fault,
            needle: needle.to_owned(),
        });
    }

    /// The number of faults that have not hit a request yet.
    #[must_use]
    pub fn pending(&self) -> usize {
        self.shared.lock().faults.len()
    }

    /// Drops the faults that have not hit a request yet.
    pub fn disarm(&self) {
        self.shared.lock().faults.clear();
    }

    /// The number of requests that were held and have not been delivered.
    #[must_use]
    pub fn held(&self) -> usize {
        self.shared.lock().held.len()
    }

    /// Passes on the request that was held first, and waits until the server has done it.
    ///
    /// # Errors
    /// No request is held, or the server is gone.
    pub fn deliver(&self) -> io::Result<()> {
        let held = self.shared.lock().held.pop_front();
        let (request, mut server) = held.ok_or(io::ErrorKind::NotFound)?;
        server.write_all(&request)?;
        // The server answers everything that it has read before it closes its end.
        server.shutdown(Shutdown::Write)?;
        io::copy(&mut server, &mut io::sink())?;
        Ok(())
    }

    /// Delays every reply by this time; zero ends the delay.
    pub fn delay_replies(&self, delay: Duration) {
        self.shared.lock().delay = delay;
    }

    /// Whenever a request with these bytes passes, sends this request first, as if from another
    /// client.
    #[cfg(test)]
    pub(crate) fn do_first(&self, needle: &'static [u8], request: Vec<u8>) {
        self.shared.lock().first = Some((needle, request));
    }

    /// Closes every open connection.
    pub fn disconnect(&self) {
        for stream in self.shared.lock().open.drain(..) {
            let _ = stream.shutdown(Shutdown::Both);
        }
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.shared.stopped.store(true, Ordering::SeqCst);
        // Wakes the accepting thread.
        let address = SocketAddr::from(([127, 0, 0, 1], self.port));
        let _ = TcpStream::connect(address);
        self.disconnect();
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn join(self: &Arc<Self>, client: TcpStream, server: TcpStream) -> io::Result<()> {
        client.set_nodelay(true)?;
        server.set_nodelay(true)?;
        let (client_back, server_back) = (client.try_clone()?, server.try_clone()?);
        {
            let mut state = self.lock();
            state.traffic.connections += 1;
            state.open.push(client.try_clone()?);
            state.open.push(server.try_clone()?);
        }
        // Whether the last bytes went to the client: then the client's next bytes are a new round
        // trip.
        let down = Arc::new(AtomicBool::new(true));
        let cut = Arc::new(Cut::default());
        let (up_shared, up_down, up_cut) = (Arc::clone(self), Arc::clone(&down), Arc::clone(&cut));
        thread::spawn(move || up_shared.up(client, server, &up_down, &up_cut));
        let shared = Arc::clone(self);
        thread::spawn(move || shared.down(server_back, client_back, &down, &cut));
        Ok(())
    }

    fn up(&self, client: TcpStream, mut server: TcpStream, down: &AtomicBool, cut: &Cut) {
        let mut requests = Requests::default();
        while let Some(burst) = read_burst(&client, &mut requests) {
            {
                let mut state = self.lock();
                state.traffic.bytes_up += burst.len() as u64;
                state.traffic.requests += requests.take();
                state.traffic.round_trips += u64::from(down.swap(false, Ordering::SeqCst));
                match state.strike(&burst) {
                    None => {}
                    Some(WireFault::DropRequest) => break,
                    Some(WireFault::SwallowRequest) => continue,
                    Some(WireFault::HoldRequest) => {
                        state.held.push_back((burst, server));
                        // Nobody receives the reply.
                        *cut.lock().unwrap_or_else(PoisonError::into_inner) =
                            Some(WireFault::HoldRequest);
                        let _ = client.shutdown(Shutdown::Both);
                        return;
                    }
                    reply => *cut.lock().unwrap_or_else(PoisonError::into_inner) = reply,
                }
            }
            #[cfg(test)]
            self.do_what_is_first(&burst, &server);
            if server.write_all(&burst).is_err() {
                break;
            }
        }
        close(&client, &server);
    }

    #[cfg(test)]
    fn do_what_is_first(&self, burst: &[u8], server: &TcpStream) {
        let first = self.lock().first.clone();
        if let Some((needle, request)) = first
            && contains(burst, needle)
        {
            let mut other = TcpStream::connect(server.peer_addr().expect("a server")).expect("met");
            other.write_all(&request).expect("sent");
            let answered = other.read(&mut [0; 64]).expect("answered");
            assert_ne!(answered, 0);
        }
    }

    fn down(&self, mut server: TcpStream, mut client: TcpStream, down: &AtomicBool, cut: &Cut) {
        let mut buffer = vec![0; BUFFER_BYTES];
        while let Ok(n @ 1..) = server.read(&mut buffer) {
            let mut delay = {
                let mut state = self.lock();
                state.traffic.bytes_down += n as u64;
                state.delay
            };
            match cut.lock().unwrap_or_else(PoisonError::into_inner).take() {
                Some(WireFault::DelayReply(longer)) => delay += longer,
                Some(WireFault::SwallowReply) => continue,
                Some(WireFault::HoldRequest) => return,
                Some(WireFault::TruncateReply) => {
                    let _ = client.write_all(&buffer[..n / 2]);
                    break;
                }
                Some(_) => break,
                None => {}
            }
            thread::sleep(delay);
            down.store(true, Ordering::SeqCst);
            if client.write_all(&buffer[..n]).is_err() {
                break;
            }
        }
        close(&client, &server);
    }
}

/// The fault for the next reply of one connection.
type Cut = Mutex<Option<WireFault>>;

impl State {
    /// Returns the fault if this is the request that it waits for.
    fn strike(&mut self, burst: &[u8]) -> Option<WireFault> {
        let needle = &self.faults.front()?.needle;
        contains(burst, needle)
            .then(|| self.faults.pop_front())?
            .map(|armed| armed.fault)
    }
}

fn contains(burst: &[u8], needle: &[u8]) -> bool {
    needle.is_empty() || burst.windows(needle.len()).any(|window| window == needle)
}

/// Reads until a request ends and no more bytes are waiting, so that a pipeline is passed on as a
/// whole. Otherwise its first reply could come before its last request is sent, and count as a
/// round trip. `None` at the end of the stream.
fn read_burst(client: &TcpStream, requests: &mut Requests) -> Option<Vec<u8>> {
    let mut burst = Vec::new();
    let mut buffer = vec![0; BUFFER_BYTES];
    loop {
        let complete = !burst.is_empty() && requests.at_end();
        // A flag of this call only: the socket's mode is shared with the thread that writes to it.
        let flags = match complete {
            true => RecvFlags::DONTWAIT,
            false => RecvFlags::empty(),
        };
        match rustix::net::recv(client, &mut buffer[..], flags) {
            Ok((0, _)) => return None,
            Ok((n, _)) => {
                requests.feed(&buffer[..n]);
                burst.extend_from_slice(&buffer[..n]);
            }
            Err(e) if e == Errno::AGAIN => return Some(burst),
            Err(e) if e == Errno::INTR => {}
            Err(_) => return None,
        }
    }
}

fn close(client: &TcpStream, server: &TcpStream) {
    let _ = client.shutdown(Shutdown::Both);
    let _ = server.shutdown(Shutdown::Both);
}
