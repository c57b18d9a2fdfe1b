//! A connection that tasks share. A task of its own reads and writes it, so many requests can be in
//! flight at a time. Each gets its own replies, even if other callers go away.
//!
//! It is a [`Wired`] connection, opened by a thread; from then on its socket does not block.

use super::{Wired, ended_by_its_task, lost, readiness::Readiness, take, timed_out};
use crate::{
    engine::{failure::Failure, wire::Packed},
    model::limits,
};
use redis::{RedisResult, Value};
use std::{
    collections::VecDeque,
    io::{self, Write as _},
    mem,
    ops::Range,
    pin::Pin,
    sync::{
        Arc, Mutex, MutexGuard, OnceLock, PoisonError,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};
use tokio::{
    io::Interest,
    runtime::{Handle, Id},
    sync::{mpsc, oneshot},
    time::{Instant, Sleep},
};

/// A handle on the connection. The connection is closed with the last handle, once all requests are
/// sent.
#[derive(Clone)]
pub(in crate::engine) struct TaskLink {
    requests: mpsc::UnboundedSender<Request>,
    waiting: Arc<Waiting>,
    patience: Duration,
    /// The patience that the connection was opened with; a request with a shorter one times itself.
    usual: Duration,
    told: Arc<Told>,
    /// The runtime of the connection's task.
    runtime: Id,
}

/// The bytes of all requests in the channel, in order. Channel and bytes change under this lock, so
/// that they stay in step. One buffer instead of one for each request: memory that one thread
/// allocates and another frees is expensive.
type Waiting = Mutex<Vec<u8>>;

/// What the connection's task tells all handles.
#[derive(Default)]
struct Told {
    /// An error that the server sent unasked, such as that it takes no more clients. It is the
    /// reply to all later requests.
    refusal: OnceLock<Value>,
    /// Counts reads and writes of bytes.
    progress: AtomicU64,
}

impl Told {
    /// The result of a request for `count` replies if the connection is gone.
    fn unsent(&self, count: usize) -> Result<Vec<Value>, Failure> {
        match self.refusal.get() {
            Some(refusal) => Ok(vec![refusal.clone(); count]),
            None => Err(lost(end_of_stream().into())),
        }
    }
}

/// A request. It is sent in one piece.
struct Request {
    /// Its number of bytes.
    len: usize,
    /// The number of replies that it will have.
    count: usize,
    patience: Duration,
    reply: Asker,
}

/// A request that the connection's task has taken.
struct Pending {
    count: usize,
    replies: Vec<Value>,
    patience: Duration,
    /// When it times out, if nothing moves.
    until: Instant,
    /// The position of its end, counted from the connection's first byte.
    end: u64,
    /// `None` after its time-out.
    reply: Option<Asker>,
}

type Asker = oneshot::Sender<Result<Vec<Value>, Failure>>;

impl Pending {
    fn is_wanted(&self) -> bool {
        self.reply.as_ref().is_some_and(|reply| !reply.is_closed())
    }
}

impl TaskLink {
    /// Spawns a task that reads and writes the connection, in the current runtime.
    pub(in crate::engine) fn spawn(mut connection: Wired, patience: Duration) -> io::Result<Self> {
        let socket = connection.wire.socket().go_on_without_blocking()?;
        let socket = Readiness::of(socket)?;
        let (requests, asked) = mpsc::unbounded_channel();
        let (waiting, told) = (Arc::<Waiting>::default(), Arc::<Told>::default());
        let now = Instant::now();
        tokio::spawn(
            Driver {
                connection,
                socket: Arc::new(socket),
                asked,
                waiting: Arc::clone(&waiting),
                outgoing: Vec::new(),
                written: 0,
                flushed: true,
                taken_in: 0,
                sent: 0,
                unsent: 0,
                read_at: now,
                wrote_at: now,
                timer: Box::pin(tokio::time::sleep_until(now)),
                pending: VecDeque::new(),
                is_over: false,
                told: Arc::clone(&told),
            }
            .run(),
        );
        Ok(Self {
            requests,
            waiting,
            patience,
            usual: patience,
            told,
            runtime: Handle::current().id(),
        })
    }

    pub(in crate::engine) fn set_patience(&mut self, patience: Duration) {
        self.patience = patience;
    }

    /// Whether both are handles on one connection.
    pub(in crate::engine) fn is_same(&self, other: &Self) -> bool {
        self.requests.same_channel(&other.requests)
    }

    /// The runtime of the connection's task.
    pub(in crate::engine) fn runtime(&self) -> Id {
        self.runtime
    }

    /// Whether it takes no more requests: it was lost, or the server left one without an answer in
    /// time.
    pub(in crate::engine) fn is_closed(&self) -> bool {
        self.requests.is_closed()
    }

    /// A request whose future is dropped may have been sent; its replies are discarded.
    pub(super) async fn exchange(&self, packed: &Packed) -> Result<Vec<Value>, Failure> {
        if packed.count == 0 {
            return Ok(Vec::new());
        }
        let (reply, mut answer) = oneshot::channel();
        let request = Request {
            len: packed.bytes.len(),
            count: packed.count,
            patience: self.patience,
            reply,
        };
        let mut progress = self.told.progress.load(Relaxed);
        if !self.hand_over(request, &packed.bytes) {
            return self.told.unsent(packed.count);
        }
        // The connection's task times requests out, but only in order: one with a shorter patience
        // than those before it times itself.
        if self.patience >= self.usual && Handle::current().id() == self.runtime {
            return answer.await.unwrap_or_else(|_| Err(ended_by_its_task()));
        }
        loop {
            match tokio::time::timeout(self.patience, &mut answer).await {
                Ok(Ok(answer)) => return answer,
                Ok(Err(_)) => return Err(ended_by_its_task()),
                // Another runtime may not be running now; then its task cannot time this out.
                Err(_) => {
                    let before = mem::replace(&mut progress, self.told.progress.load(Relaxed));
                    if before == progress {
                        return Err(timed_out());
                    }
                }
            }
        }
    }

    /// Returns `false` if the connection takes no more requests.
    fn hand_over(&self, request: Request, bytes: &[u8]) -> bool {
        let mut waiting = lock(&self.waiting);
        let before = waiting.len();
        waiting.extend_from_slice(bytes);
        let is_taken = self.requests.send(request).is_ok();
        if !is_taken {
            waiting.truncate(before);
        }
        is_taken
    }
}

fn lock(waiting: &Waiting) -> MutexGuard<'_, Vec<u8>> {
    waiting.lock().unwrap_or_else(PoisonError::into_inner)
}

struct Driver {
    connection: Wired,
    socket: Arc<Readiness>,
    asked: mpsc::UnboundedReceiver<Request>,
    waiting: Arc<Waiting>,
    /// The bytes taken last. The next ones are taken once these are written.
    outgoing: Vec<u8>,
    /// How many bytes of `outgoing` are written.
    written: usize,
    /// `false` while TLS may hold bytes back.
    flushed: bool,
    /// The bytes of all requests so far, and how many of them are sent.
    taken_in: u64,
    sent: u64,
    /// How many of the pending requests are not sent yet; they are the last ones.
    unsent: usize,
    read_at: Instant,
    wrote_at: Instant,
    /// Fires when the first request may be late, or earlier.
    timer: Pin<Box<Sleep>>,
    pending: VecDeque<Pending>,
    /// No more requests are taken.
    is_over: bool,
    told: Arc<Told>,
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
        self.refuse_more().await;
        for reply in self.pending.into_iter().filter_map(|it| it.reply) {
            let _ = reply.send(Err(lost(error.clone())));
        }
    }

    /// Refuses all later requests, so that their senders know that they were not sent.
    async fn refuse_more(&mut self) {
        self.is_over = true;
        self.asked.close();
        while let Some(request) = self.asked.recv().await {
            let _ = request.reply.send(self.told.unsent(request.count));
        }
        *lock(&self.waiting) = Vec::new();
    }

    /// Returns `false` once there is nothing left to do.
    async fn turn(&mut self) -> RedisResult<bool> {
        let first = self.pending.iter().find(|it| it.reply.is_some());
        let late = first.map(|first| self.late(first));
        if self.is_over && self.is_done(late.is_none()) {
            return Ok(false);
        }
        if let Some(late) = late
            && (self.timer.is_elapsed() || self.timer.deadline() > late)
        {
            self.timer.as_mut().reset(late);
        }
        let (socket, is_sent) = (Arc::clone(&self.socket), self.is_sent());
        tokio::select! {
            request = self.asked.recv(), if !self.is_over && self.outgoing.is_empty() => match request {
                Some(request) => self.take_in(request),
                None => self.is_over = true,
            },
            ready = socket.until(Interest::READABLE) => {
                ready?;
                self.read_at = Instant::now();
                self.told.progress.fetch_add(1, Relaxed);
                return socket.while_ready(Interest::READABLE, || self.read());
            }
            ready = socket.until(Interest::WRITABLE), if !is_sent => ready?,
            () = &mut self.timer, if late.is_some() => {
                self.give_up().await;
                return Ok(true);
            }
        }
        // Usually it can be written at once.
        socket.while_ready(Interest::WRITABLE, || self.write())?;
        if !self.is_sent() {
            // TLS may have read while it wrote, and the socket does not tell of those bytes.
            self.read()?;
        }
        Ok(true)
    }

    fn is_sent(&self) -> bool {
        self.outgoing.is_empty() && self.flushed
    }

    /// Whether no request is open any more, or all are sent and no caller waits.
    fn is_done(&self, nothing_is_open: bool) -> bool {
        nothing_is_open || self.is_sent() && !self.pending.iter().any(Pending::is_wanted)
    }

    /// When a request is late: its time is over, and neither it nor a reply has moved for that
    /// long.
    fn late(&self, pending: &Pending) -> Instant {
        if cfg!(cachetx_without_progress) {
            return pending.until;
        }
        let moved = match pending.end > self.sent {
            true => self.wrote_at,
            false => self.read_at,
        };
        pending.until.max(moved + pending.patience)
    }

    /// Called when the server has left a request without an answer in time. Later requests must use
    /// another connection; callers whose time is over get an error. The others may still be
    /// answered.
    async fn give_up(&mut self) {
        let now = Instant::now();
        let late: Vec<_> = (0..self.pending.len())
            .filter(|n| {
                let pending = &self.pending[*n];
                pending.reply.is_some() && self.late(pending) <= now
            })
            .collect();
        if late.is_empty() {
            return;
        }
        self.refuse_more().await;
        for n in late {
            if let Some(reply) = self.pending[n].reply.take() {
                let _ = reply.send(Err(timed_out()));
            }
        }
    }

    fn take_in(&mut self, first: Request) {
        let now = Instant::now();
        let waiting = Arc::clone(&self.waiting);
        let mut waiting = lock(&waiting);
        let mut next = Some(first);
        // The bytes whose senders still wait.
        let mut wanted: Vec<Range<usize>> = Vec::new();
        let mut end = 0;
        while let Some(request) = next.take() {
            let bytes = end..end + request.len;
            end = bytes.end;
            if !request.reply.is_closed() {
                match wanted.last_mut() {
                    Some(last) if last.end == bytes.start => last.end = bytes.end,
                    _ => wanted.push(bytes),
                }
                self.taken_in += request.len as u64;
                self.unsent += 1;
                self.pending.push_back(Pending {
                    count: request.count,
                    replies: Vec::with_capacity(request.count),
                    patience: request.patience,
                    until: now + request.patience,
                    end: self.taken_in,
                    reply: Some(request.reply),
                });
            }
            next = self.asked.try_recv().ok();
        }
        match &wanted[..] {
            [all] if *all == (0..waiting.len()) => mem::swap(&mut self.outgoing, &mut waiting),
            parts => {
                for part in parts {
                    self.outgoing.extend_from_slice(&waiting[part.clone()]);
                }
                waiting.clear();
            }
        }
    }

    /// Counts bytes as sent. The time of a request starts again once it is sent whole.
    fn has_sent(&mut self, bytes: usize) {
        self.sent += bytes as u64;
        self.wrote_at = Instant::now();
        self.told.progress.fetch_add(1, Relaxed);
        while self.unsent > 0 {
            let at = self.pending.len() - self.unsent;
            let pending = &mut self.pending[at];
            if pending.end > self.sent {
                return;
            }
            pending.until = self.wrote_at + pending.patience;
            self.unsent -= 1;
        }
    }

    /// Returns `true` if the socket takes no more for now.
    fn write(&mut self) -> RedisResult<bool> {
        while self.written < self.outgoing.len() {
            self.flushed = false;
            match self.connection.wire.write(&self.outgoing[self.written..]) {
                // TLS has buffered as much as it can; a plain socket never returns 0.
                Ok(0) => return Ok(true),
                Ok(n) => {
                    self.written += n;
                    self.has_sent(n);
                }
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

    /// Takes all replies that have arrived. Returns `true` if the socket has no more for now.
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
                        let _ = self.told.refusal.set(reply);
                        return Err(end_of_stream().into());
                    }
                    _ => return Err(io::Error::from(io::ErrorKind::InvalidData).into()),
                }
            };
            let taken = take(&mut pending.replies, reply);
            if taken.is_ok() && pending.replies.len() < pending.count {
                continue;
            }
            let is_last_word = taken.is_err();
            if let Some(pending) = self.pending.pop_front() {
                // The server has answered before it had the whole request: what it does with the
                // rest is unknown.
                let is_early = pending.end > self.sent;
                if let Some(reply) = pending.reply {
                    let _ = reply.send(taken.map(|()| pending.replies));
                }
                if is_early {
                    return Err(end_of_stream().into());
                }
            }
            if is_last_word {
                return Err(end_of_stream().into());
            }
        }
    }
}

fn end_of_stream() -> io::Error {
    io::ErrorKind::UnexpectedEof.into()
}

fn would_block(e: &io::Error) -> bool {
    e.kind() == io::ErrorKind::WouldBlock
}
