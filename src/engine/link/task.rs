//! A connection that tasks wait for. A task of its own reads and writes it, so that many requests can be under way at a time, each with its
//! own replies, whatever becomes of those who asked.
//!
//! It is a [`Connection`] as threads have it, opened by one, whose socket does not block from then on.

use super::{Connection, ended_by_its_task, lost, take, timed_out};
use crate::{
    engine::{failure::Failure, wire::Packed},
    model::limits,
};
use redis::{RedisResult, Value};
use std::{
    collections::VecDeque,
    io::{self, Write as _},
    sync::{Arc, OnceLock},
    time::Duration,
};
use tokio::{
    io::Interest,
    net::{TcpStream, UnixStream},
    sync::{mpsc, oneshot},
    time::Instant,
};

/// Requests that go out together at most: more wait until these are sent.
const BATCH_BYTES: usize = 64 << 10;

/// A handle on it. The connection is closed with the last one, once all requests are sent.
#[derive(Clone)]
pub(in crate::engine) struct TaskLink {
    requests: mpsc::UnboundedSender<Request>,
    patience: Duration,
    refusal: Refusal,
}

/// What the server has said before it was asked, such as that it takes no more clients: it is the reply to what comes next.
type Refusal = Arc<OnceLock<Value>>;

/// Sent in one piece.
struct Request {
    bytes: Vec<u8>,
    /// How many replies it will have.
    count: usize,
    until: Instant,
    reply: Asker,
}

/// A request that was sent.
struct Pending {
    count: usize,
    replies: Vec<Value>,
    until: Instant,
    /// `None` where it has waited long enough.
    reply: Option<Asker>,
}

type Asker = oneshot::Sender<Result<Vec<Value>, Failure>>;

impl Pending {
    fn is_wanted(&self) -> bool {
        self.reply.as_ref().is_some_and(|reply| !reply.is_closed())
    }

    fn is_late(&self) -> bool {
        self.until <= Instant::now()
    }
}

impl TaskLink {
    /// Has the connection read and written by a task of the runtime that this is called in.
    pub(in crate::engine) fn spawn(
        mut connection: Connection,
        patience: Duration,
    ) -> io::Result<Self> {
        let socket = connection.wire.socket().go_on_without_blocking()?;
        let socket = match socket.peer_addr()?.is_unix() {
            true => Readiness::Unix(UnixStream::from_std(socket.into())?),
            false => Readiness::Tcp(TcpStream::from_std(socket.into())?),
        };
        let (requests, asked) = mpsc::unbounded_channel();
        let refusal = Refusal::default();
        tokio::spawn(
            Driver {
                connection,
                socket: Arc::new(socket),
                asked,
                outgoing: Vec::new(),
                written: 0,
                flushed: true,
                pending: VecDeque::new(),
                is_over: false,
                refusal: refusal.clone(),
            }
            .run(),
        );
        Ok(Self {
            requests,
            patience,
            refusal,
        })
    }

    pub(in crate::engine) fn set_patience(&mut self, patience: Duration) {
        self.patience = patience;
    }

    /// Whether both are of one connection.
    pub(in crate::engine) fn is_same(&self, other: &Self) -> bool {
        self.requests.same_channel(&other.requests)
    }

    /// Whether it takes no more requests: it was lost, or the server left one without an answer.
    pub(in crate::engine) fn is_closed(&self) -> bool {
        self.requests.is_closed()
    }

    /// A request whose future is dropped may have been sent; its replies are thrown away.
    pub(super) async fn exchange(&self, packed: &Packed) -> Result<Vec<Value>, Failure> {
        if packed.count == 0 {
            return Ok(Vec::new());
        }
        let (reply, answer) = oneshot::channel();
        let until = Instant::now() + self.patience;
        let request = Request {
            bytes: packed.bytes.clone(),
            count: packed.count,
            until,
            reply,
        };
        if self.requests.send(request).is_err() {
            return unsent(packed.count, &self.refusal);
        }
        // Here too: the connection's task may be one of a runtime that nobody drives just now.
        match tokio::time::timeout_at(until, answer).await {
            Ok(Ok(answer)) => answer,
            Ok(Err(_)) => Err(ended_by_its_task()),
            Err(_) => Err(timed_out()),
        }
    }
}

/// Another handle on the connection's socket, which tells when it can be read or written.
enum Readiness {
    Tcp(TcpStream),
    Unix(UnixStream),
}

impl Readiness {
    async fn until(&self, interest: Interest) -> io::Result<()> {
        let ready = match self {
            Self::Tcp(socket) => socket.ready(interest).await,
            Self::Unix(socket) => socket.ready(interest).await,
        };
        ready.map(drop)
    }

    /// Goes on as far as that is possible without waiting: `work` says whether it would have to wait. `true` where all is well.
    fn while_ready(
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
        // That it would block is what it has to be told.
        let _ = match self {
            Self::Tcp(socket) => socket.try_io(interest, work),
            Self::Unix(socket) => socket.try_io(interest, work),
        };
        failed.map_or(Ok(true), Err)
    }
}

struct Driver {
    connection: Connection,
    socket: Arc<Readiness>,
    asked: mpsc::UnboundedReceiver<Request>,
    outgoing: Vec<u8>,
    /// How much of that is written.
    written: usize,
    /// TLS may keep something back.
    flushed: bool,
    pending: VecDeque<Pending>,
    /// It takes no more requests.
    is_over: bool,
    refusal: Refusal,
}

impl Driver {
    async fn run(mut self) {
        let error = loop {
            match self.turn().await {
                Ok(true) => {}
                Ok(false) => return,
                Err(error) => break error,
            }
        };
        self.refuse_more();
        let sent = std::mem::take(&mut self.pending);
        for reply in sent.into_iter().filter_map(|pending| pending.reply) {
            let _ = reply.send(Err(lost(error.clone())));
        }
    }

    /// What comes from now on is refused, so that its sender knows that it was not sent.
    fn refuse_more(&mut self) {
        self.is_over = true;
        self.asked.close();
        while let Ok(request) = self.asked.try_recv() {
            let _ = request.reply.send(unsent(request.count, &self.refusal));
        }
    }

    /// Whether there is, or may be, something left to do.
    async fn turn(&mut self) -> RedisResult<bool> {
        let socket = Arc::clone(&self.socket);
        let is_sent = self.outgoing.is_empty() && self.flushed;
        let mut open = self
            .pending
            .iter()
            .filter(|pending| pending.reply.is_some());
        let next = open.next().map(|pending| pending.until);
        // What was to be done although nobody waits for its reply any more is sent, or was not taken in its time.
        let is_done = next.is_none() || is_sent && !self.pending.iter().any(Pending::is_wanted);
        if self.is_over && is_done {
            return Ok(false);
        }
        let late = async {
            match next {
                Some(until) => tokio::time::sleep_until(until).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            request = self.asked.recv(), if !self.is_over && self.outgoing.len() < BATCH_BYTES => match request {
                Some(request) => self.take_in(request),
                None => self.is_over = true,
            },
            ready = socket.until(Interest::READABLE) => {
                ready?;
                return socket.while_ready(Interest::READABLE, || self.read());
            }
            ready = socket.until(Interest::WRITABLE), if !is_sent => ready?,
            () = late => {
                self.give_up();
                return Ok(true);
            }
        }
        // Usually it can be written at once.
        socket.while_ready(Interest::WRITABLE, || self.write())
    }

    /// The server has left a request without an answer in its time: those that come are for another connection, and whoever has
    /// waited long enough is told. The others may still be answered.
    fn give_up(&mut self) {
        self.refuse_more();
        for pending in self.pending.iter_mut().filter(|it| it.is_late()) {
            if let Some(reply) = pending.reply.take() {
                let _ = reply.send(Err(timed_out()));
            }
        }
    }

    fn take_in(&mut self, first: Request) {
        let mut next = Some(first);
        while let Some(request) = next.take() {
            // Its sender has gone.
            if !request.reply.is_closed() {
                self.outgoing.extend_from_slice(&request.bytes);
                self.pending.push_back(Pending {
                    count: request.count,
                    replies: Vec::with_capacity(request.count),
                    until: request.until,
                    reply: Some(request.reply),
                });
            }
            if self.outgoing.len() < BATCH_BYTES {
                next = self.asked.try_recv().ok();
            }
        }
    }

    /// Whether the socket takes no more for now.
    fn write(&mut self) -> RedisResult<bool> {
        while self.written < self.outgoing.len() {
            self.flushed = false;
            match self.connection.wire.write(&self.outgoing[self.written..]) {
                // TLS has its fill of what the socket does not take; a socket itself never says so.
                Ok(0) => return Ok(true),
                Ok(n) => self.written += n,
                Err(e) if would_block(&e) => return Ok(true),
                Err(e) => return Err(e.into()),
            }
        }
        self.outgoing.clear();
        self.outgoing.shrink_to(limits::WARM_BUFFER_BYTES);
        self.written = 0;
        match self.connection.wire.flush() {
            Ok(()) => {
                self.flushed = true;
                Ok(false)
            }
            Err(e) if would_block(&e) => Ok(true),
            Err(e) => Err(e.into()),
        }
    }

    /// Takes all replies that are there. Whether the socket has no more for now.
    fn read(&mut self) -> RedisResult<bool> {
        loop {
            let reply = match self.connection.receive() {
                Ok(reply) => reply,
                Err(e) if e.is_timeout() => return Ok(true),
                Err(e) => return Err(e),
            };
            let Some(pending) = self.pending.front_mut() else {
                match reply {
                    Value::Push { .. } => continue,
                    Value::ServerError(_) => {
                        let _ = self.refusal.set(reply);
                        return Err(io::Error::from(io::ErrorKind::UnexpectedEof).into());
                    }
                    _ => return Err(io::Error::from(io::ErrorKind::InvalidData).into()),
                }
            };
            let taken = take(&mut pending.replies, reply);
            if taken.is_ok() && pending.replies.len() < pending.count {
                continue;
            }
            if let Some(pending) = self.pending.pop_front()
                && let Some(reply) = pending.reply
            {
                let _ = reply.send(taken.map(|()| pending.replies));
            }
        }
    }
}

/// What whoever wanted to send so many requests is told where the connection is gone.
fn unsent(count: usize, refusal: &Refusal) -> Result<Vec<Value>, Failure> {
    match refusal.get() {
        Some(refused) => Ok(vec![refused.clone(); count]),
        None => Err(lost(io::Error::from(io::ErrorKind::UnexpectedEof).into())),
    }
}

fn would_block(e: &io::Error) -> bool {
    e.kind() == io::ErrorKind::WouldBlock
}
