use super::Bells;
use crate::{
    engine::{
        link::Connection,
        net::{Net, now},
        reply::{is_denied, server_error},
        topology::Topology,
    },
    model::{Result, limits},
};
use backon::{BackoffBuilder as _, ExponentialBuilder};
use redis::{PushKind, Value};
use std::{
    collections::HashSet,
    sync::{
        Arc, Condvar, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering::SeqCst},
    },
    thread,
    time::{Duration, Instant},
};

/// A cache's one connection for messages, and the thread that reads it. Both start with the first
/// listener and end some seconds after the last. An error is logged once, and costs waiters some
/// time.
pub(in crate::engine) struct Subscriber(Arc<Shared>);

struct Shared {
    topology: Arc<Topology>,
    bells: Arc<Bells>,
    thread: Mutex<Thread>,
    end: Condvar,
    /// Whether it was logged that no messages come.
    complained: AtomicBool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Thread {
    None,
    Runs,
    /// The cache is closed: no thread is started any more.
    Ended,
}

/// Why a connection is not read any more.
enum End {
    Closed,
    Unused,
    Lost(String),
    /// By the ACL, or because the server has no messages.
    Denied(String),
}

/// A channel that nobody subscribes to. Every server answers an unsubscription from it with a
/// message, whatever its ACL; an answer that is not a message would be lost after a time-out.
const NOBODYS: &str = "cachetx:nobody";

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Subscriber {
    /// Connects nothing yet.
    pub(in crate::engine) fn new(topology: Arc<Topology>) -> Self {
        Self(Arc::new(Shared {
            topology,
            bells: Arc::default(),
            thread: Mutex::new(Thread::None),
            end: Condvar::new(),
            complained: AtomicBool::new(false),
        }))
    }

    /// Where listeners join; call [`start`](Self::start) afterwards.
    pub(in crate::engine) fn bells(&self) -> &Arc<Bells> {
        &self.0.bells
    }

    /// Starts the thread unless it runs.
    pub(in crate::engine) fn start(&self) {
        let mut thread = lock(&self.0.thread);
        if *thread != Thread::None || cfg!(cachetx_without_wake_up) {
            return;
        }
        let shared = Arc::clone(&self.0);
        match thread::Builder::new()
            .name("cachetx-messages".to_owned())
            .spawn(move || shared.run())
        {
            Ok(_) => *thread = Thread::Runs,
            Err(e) => self.0.complain(&format!("no thread: {e}")),
        }
    }

    /// Ends the thread, which takes some ms.
    pub(in crate::engine) fn stop(&self) {
        *lock(&self.0.thread) = Thread::Ended;
        self.0.end.notify_all();
        self.0.bells.are_left();
    }
}

impl Drop for Subscriber {
    fn drop(&mut self) {
        self.stop();
    }
}

impl Shared {
    fn run(&self) {
        let pauses = || {
            ExponentialBuilder::new()
                .with_min_delay(limits::LISTEN_PAUSE_MIN)
                .with_max_delay(limits::LISTEN_PAUSE_MAX)
                .with_jitter()
                .without_max_times()
                .build()
        };
        let mut backoff = pauses();
        loop {
            let end = match self.connect() {
                Ok(connection) => self.serve(connection, || backoff = pauses()),
                Err(e) => End::Lost(e.to_string()),
            };
            self.bells.are_deaf();
            let pause = match end {
                End::Closed => return,
                End::Unused => Duration::ZERO,
                End::Lost(why) => {
                    self.complain(&why);
                    backoff.next().unwrap_or(limits::LISTEN_PAUSE_MAX)
                }
                End::Denied(why) => {
                    self.complain(&why);
                    limits::LISTEN_DENIED_PAUSE
                }
            };
            if self.ends(pause) {
                return;
            }
        }
    }

    /// Pauses. Returns whether the thread must end: the cache is closed, or nobody listens.
    fn ends(&self, pause: Duration) -> bool {
        let until = Instant::now() + pause;
        let mut thread = lock(&self.thread);
        loop {
            if *thread == Thread::Ended {
                return true;
            }
            // Checked under the lock: a later listener starts the next thread.
            if self.bells.wanted().is_empty() {
                *thread = Thread::None;
                return true;
            }
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return false;
            }
            let waited = self
                .end
                .wait_timeout(thread, left.min(limits::LISTEN_LINGER));
            thread = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    /// Connects to any server that takes writes: a Cluster's nodes forward messages to each other.
    fn connect(&self) -> Result<Connection> {
        let mut failed = None;
        for node in now(self.topology.primaries(Net::Threads))? {
            match node.connect_to_listen() {
                Ok(connection) => return Ok(connection),
                Err(e) => {
                    if e.is_unavailable() {
                        self.topology.doubt(&node);
                    }
                    failed = Some(e);
                }
            }
        }
        Err(failed.unwrap_or_else(|| {
            crate::engine::refusal::unavailable("no server".to_owned(), crate::model::Effect::None)
        }))
    }

    /// Listens to the wanted channels until the connection ends.
    fn serve(&self, mut connection: Connection, mut goes_well: impl FnMut()) -> End {
        let mut asked = HashSet::new();
        let mut looked = None;
        // Whether the server has sent anything since it was last asked to.
        let (mut answered, mut asked_at) = (false, Instant::now());
        loop {
            if *lock(&self.thread) == Thread::Ended {
                return End::Closed;
            }
            if asked_at.elapsed() >= limits::LISTEN_LINGER {
                if !answered {
                    return End::Lost("no sign of life".to_owned());
                }
                (answered, asked_at) = (false, Instant::now());
                let question = std::iter::once(NOBODYS);
                if let Err(e) = send(&mut connection, "UNSUBSCRIBE", question) {
                    return End::Lost(e.to_string());
                }
            }
            let stale = looked.is_none_or(|at: Instant| at.elapsed() >= limits::LISTEN_LINGER);
            if self.bells.have_changed() || stale {
                looked = Some(Instant::now());
                let wanted = self.bells.wanted();
                if wanted.is_empty() {
                    return End::Unused;
                }
                let more = wanted.difference(&asked).map(String::as_str);
                let fewer = asked.difference(&wanted).map(String::as_str);
                let sent = send(&mut connection, "SUBSCRIBE", more)
                    .and_then(|()| send(&mut connection, "UNSUBSCRIBE", fewer));
                if let Err(e) = sent {
                    return End::Lost(e.to_string());
                }
                asked = wanted;
            }
            let heard = connection.receive();
            answered |= heard.is_ok();
            match heard {
                Ok(Value::Push { kind, data }) => match (kind, data.into_iter().next()) {
                    (PushKind::Subscribe, Some(channel)) => {
                        goes_well();
                        self.complained.store(false, SeqCst);
                        self.bells.is_live(&text(channel));
                    }
                    (PushKind::Message, Some(channel)) => self.bells.ring(&text(channel)),
                    _ => {}
                },
                Ok(refused @ Value::ServerError(_)) => return denied(refused),
                Ok(_) => {}
                Err(e) if e.is_timeout() => {}
                Err(e) => return End::Lost(e.to_string()),
            }
        }
    }

    fn complain(&self, why: &str) {
        if !self.complained.swap(true, SeqCst) {
            log::warn!(
                "no messages come that wake those who wait for locks; they ask now and then instead: {why}"
            );
        }
    }
}

fn send<'a>(
    connection: &mut Connection,
    command: &str,
    channels: impl Iterator<Item = &'a str>,
) -> redis::RedisResult<()> {
    let mut request = redis::cmd(command);
    let mut any = false;
    for channel in channels {
        request.arg(channel);
        any = true;
    }
    match any {
        true => connection.send(&request.get_packed_command()),
        false => Ok(()),
    }
}

fn denied(reply: Value) -> End {
    let lasting = is_denied(&reply);
    match reply {
        Value::ServerError(error) if lasting => End::Denied(server_error(&error).to_string()),
        other => End::Lost(format!("{other:?}")),
    }
}

fn text(channel: Value) -> String {
    match channel {
        Value::BulkString(bytes) => String::from_utf8_lossy(&bytes).into_owned(),
        Value::SimpleString(text) => text,
        _ => String::new(),
    }
}
