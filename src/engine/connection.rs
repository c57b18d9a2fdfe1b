//! Blocking connections: a pool of slots that connect when they are first used.

use super::{counters::Counters, wire::Packed};
use crate::{
    Error, Result,
    error::{Effect, Kind},
    limits,
    op::Fault,
};
use redis::{
    Client, Connection, IntoConnectionInfo as _, Value,
    io::tcp::{TcpSettings, socket2::TcpKeepalive},
};
use scheduled_thread_pool::ScheduledThreadPool;
use std::{convert::Infallible, fmt, path::PathBuf, sync::Arc, time::Duration};

/// What a connection needs to know.
#[derive(Clone)]
pub(crate) struct ServerConfig {
    /// `redis://`, `rediss://` or `redis+unix://`, with credentials and database number.
    pub(crate) url: String,
    /// TCP, TLS, AUTH and SELECT included; looking the name up is not.
    pub(crate) connect_timeout: Duration,
    /// For each write and each read.
    pub(crate) response_timeout: Duration,
    /// Connections at most.
    pub(crate) pool_size: u32,
    /// PEM file of the certificates that are trusted in place of the system's.
    pub(crate) tls_root_ca: Option<PathBuf>,
}

impl ServerConfig {
    pub(crate) fn new(url: impl Into<String>) -> Self {
        Self {
            url: url.into(),
            connect_timeout: limits::DEFAULT_CONNECT_TIMEOUT,
            response_timeout: limits::DEFAULT_RESPONSE_TIMEOUT,
            pool_size: limits::DEFAULT_POOL_SIZE,
            tls_root_ca: None,
        }
    }

    fn client(&self) -> Result<Client> {
        let config = |message| Error::new(Kind::Config(message));
        for (name, value) in [
            ("connect_timeout", self.connect_timeout),
            ("response_timeout", self.response_timeout),
        ] {
            if value.is_zero() {
                return Err(config(format!("{name} must be above zero")));
            }
        }
        if self.pool_size == 0 {
            return Err(config("pool_size must be above zero".to_owned()));
        }
        let shown = redacted(&self.url);
        // The client's own messages are left out where they might quote the URL.
        let bad_url = |_| config(format!("the server URL `{shown}` is not one"));
        let info = self.url.as_str().into_connection_info().map_err(bad_url)?;
        let keepalive = TcpKeepalive::new().with_time(limits::TCP_KEEPALIVE);
        let settings = TcpSettings::default().set_nodelay(true);
        let info = info.set_tcp_settings(settings.set_keepalive(keepalive));
        let redis = info.redis_settings().clone().set_skip_set_lib_name();
        let info = info.set_redis_settings(redis);
        if !info.addr().is_supported() {
            return Err(config(format!(
                "the server URL `{shown}` needs the feature `tls`"
            )));
        }
        if matches!(info.addr(), redis::ConnectionAddr::TcpTls { .. }) {
            provide_crypto();
        }
        match &self.tls_root_ca {
            None => Client::open(info).map_err(bad_url),
            Some(path) => with_root_ca(info, path),
        }
    }
}

/// The client takes rustls's default provider and panics where there is none, or several; a program's own choice stays.
#[cfg(feature = "tls")]
fn provide_crypto() {
    if rustls::crypto::CryptoProvider::get_default().is_none() {
        // An error means that another thread was faster.
        let _ = rustls::crypto::ring::default_provider().install_default();
    }
}

#[cfg(not(feature = "tls"))]
fn provide_crypto() {}

#[cfg(feature = "tls")]
fn with_root_ca(info: redis::ConnectionInfo, path: &std::path::Path) -> Result<Client> {
    let root_cert = std::fs::read(path).map_err(|source| {
        Error::new(Kind::Io {
            path: path.to_owned(),
            action: "read the TLS root certificates",
            source,
        })
    })?;
    let unusable = |why: String| {
        let path = path.display();
        Error::new(Kind::Config(format!(
            "{path}: not usable as TLS root certificates: {why}"
        )))
    };
    // The client takes a file without any for an empty list, and then trusts nobody.
    if !root_cert.windows(PEM.len()).any(|window| window == PEM) {
        return Err(unusable("no certificate in it".to_owned()));
    }
    let certificates = redis::TlsCertificates {
        client_tls: None,
        root_cert: Some(root_cert),
    };
    Client::build_with_tls(info, certificates).map_err(|e| unusable(e.to_string()))
}

#[cfg(feature = "tls")]
const PEM: &[u8] = b"-----BEGIN CERTIFICATE-----";

#[cfg(not(feature = "tls"))]
fn with_root_ca(_: redis::ConnectionInfo, path: &std::path::Path) -> Result<Client> {
    Err(Error::new(Kind::Config(format!(
        "{}: TLS root certificates need the feature `tls`",
        path.display()
    ))))
}

impl fmt::Debug for ServerConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ServerConfig")
            .field("url", &redacted(&self.url))
            .field("connect_timeout", &self.connect_timeout)
            .field("response_timeout", &self.response_timeout)
            .field("pool_size", &self.pool_size)
            .field("tls_root_ca", &self.tls_root_ca)
            .finish()
    }
}

/// `url` as it may be logged: without user, password and query (a Unix socket's password stands there).
pub(crate) fn redacted(url: &str) -> String {
    let (scheme, rest) = url.split_once("://").unwrap_or(("", url));
    let (rest, query) = rest.split_once('?').map_or((rest, ""), |(r, _)| (r, "?…"));
    // The last `@`: a password may hold one that was not escaped.
    let (login, rest) = rest.rsplit_once('@').map_or(("", rest), |(_, r)| ("…@", r));
    let separator = if scheme.is_empty() { "" } else { "://" };
    format!("{scheme}{separator}{login}{rest}{query}")
}

/// Where connections come from.
pub(super) struct Connections {
    pool: r2d2::Pool<Slots>,
    client: Client,
    config: ServerConfig,
    counters: Arc<Counters>,
}

impl Connections {
    /// Connects nothing yet.
    pub(super) fn new(config: ServerConfig, counters: Arc<Counters>) -> Result<Self> {
        let client = config.client()?;
        // Making a slot is no work and needs no more than one thread.
        let threads = ScheduledThreadPool::builder()
            .num_threads(1)
            .thread_name_pattern("cachetx-pool-{}")
            .build();
        let pool = r2d2::Pool::builder()
            .max_size(config.pool_size)
            .min_idle(Some(0))
            // The default asks the server at each check-out: one more round trip.
            .test_on_check_out(false)
            .connection_timeout(config.connect_timeout + config.response_timeout)
            .thread_pool(Arc::new(threads))
            .build_unchecked(Slots);
        Ok(Self {
            pool,
            client,
            config,
            counters,
        })
    }

    /// The server's URL, fit to be shown.
    pub(super) fn shown_url(&self) -> String {
        redacted(&self.config.url)
    }

    /// Runs `work` on a connection. Where one from the pool turns out to be closed (the server restarted, or ended it
    /// while it was idle), runs it once more on a new one: so everything in `work` must be safe to repeat.
    pub(super) fn with<T>(
        &self,
        mut work: impl FnMut(&mut Session<'_>) -> Result<T, Failure>,
    ) -> Result<T, Fault> {
        let mut slot = self.pool.get().map_err(|_| {
            let size = self.config.pool_size;
            Fault::NotDone(unavailable(
                format!("all {size} connections are in use"),
                Effect::None,
            ))
        })?;
        let mut failure = None;
        for _ in 0..limits::SEND_ATTEMPTS {
            let reused = slot.connection.is_some();
            let connection = match slot.connection.take() {
                Some(connection) => connection,
                None => match self.connect(failure.is_some() || slot.failed) {
                    Ok(connection) => connection,
                    // What was sent on the closed one may have been executed.
                    Err(e) if failure.is_some() => {
                        return Err(Fault::Unknown(with_unknown_effect(&e)));
                    }
                    Err(e) => return Err(Fault::NotDone(e)),
                },
            };
            let Slot { buffer, .. } = &mut *slot;
            let mut session = Session {
                connection,
                packed: buffer,
                counters: &self.counters,
            };
            match work(&mut session) {
                Err(Failure::Lost { error, closed }) => {
                    // The connection goes: its late reply would be taken for the next one.
                    drop(session);
                    slot.failed = true;
                    let again = reused && closed;
                    log::debug!("{}: connection lost: {error}", self.shown_url());
                    failure = Some(error);
                    if !again {
                        break;
                    }
                }
                done => {
                    slot.connection = Some(session.connection);
                    slot.failed = false;
                    slot.trim();
                    return done.map_err(|failed| match failed {
                        Failure::Refused(error) if failure.is_none() => Fault::NotDone(error),
                        // Refused now, and before that sent on a connection that was closed.
                        Failure::Refused(error) => Fault::Unknown(with_unknown_effect(&error)),
                        Failure::Midway(error) | Failure::Lost { error, .. } => {
                            Fault::Unknown(error)
                        }
                    });
                }
            }
        }
        slot.trim();
        Err(Fault::Unknown(failure.unwrap_or_else(|| {
            unavailable("the connection was lost".to_owned(), Effect::Unknown)
        })))
    }

    fn connect(&self, again: bool) -> Result<Connection> {
        if again {
            self.counters.count_reconnect();
            log::info!("{}: connecting again", self.shown_url());
        }
        let failed = |e: redis::RedisError| {
            let address = self.shown_url();
            match e.code() {
                Some(code) => refused(&format!("{address}: {}", text(code, e.detail())), code),
                None if e.kind() == redis::ErrorKind::AuthenticationFailed => {
                    let message = format!("{address}: {e}");
                    Error::new(Kind::Server { message })
                }
                None => unavailable(format!("cannot connect to {address}: {e}"), Effect::None),
            }
        };
        let timeout = self.config.connect_timeout;
        let connection = self.client.get_connection_with_timeout(timeout);
        let connection = connection.map_err(failed)?;
        let timeout = Some(self.config.response_timeout);
        connection.set_read_timeout(timeout).map_err(failed)?;
        connection.set_write_timeout(timeout).map_err(failed)?;
        Ok(connection)
    }
}

/// Why a round trip gave nothing.
pub(super) enum Failure {
    /// The server answered with an error: nothing was done.
    Refused(Error),
    /// The server answered with an error after the first of several writes: what was written stays.
    Midway(Error),
    /// No answer, and the connection is of no use any more.
    Lost {
        error: Error,
        /// The server had closed it, as far as can be told; not a time-out.
        closed: bool,
    },
}

/// A connection in use.
pub(super) struct Session<'a> {
    connection: Connection,
    packed: &'a mut Packed,
    counters: &'a Counters,
}

impl Session<'_> {
    /// Packs requests, sends them in one write and waits for their replies, errors among them.
    pub(super) fn exchange(
        &mut self,
        pack: impl FnOnce(&mut Packed),
    ) -> Result<Vec<Value>, Failure> {
        self.packed.clear();
        pack(self.packed);
        self.counters.count_round_trip();
        let sent = self.connection.send_packed_command(&self.packed.bytes);
        sent.map_err(lost)?;
        let mut replies = Vec::with_capacity(self.packed.count);
        while replies.len() < self.packed.count {
            match self.connection.recv_response().map_err(lost)? {
                Value::Push { .. } => {}
                reply => replies.push(reply),
            }
        }
        Ok(replies)
    }

    /// One request, one reply.
    pub(super) fn ask(&mut self, pack: impl FnOnce(&mut Packed)) -> Result<Value, Failure> {
        let mut replies = self.exchange(pack)?;
        match replies.pop() {
            Some(reply) if replies.is_empty() => Ok(reply),
            _ => Err(nonsense("one reply was expected")),
        }
    }

    pub(super) fn counters(&self) -> &Counters {
        self.counters
    }
}

fn lost(e: redis::RedisError) -> Failure {
    let message = if e.is_timeout() {
        "no reply in time".to_owned()
    } else {
        format!("the connection was lost: {e}")
    };
    Failure::Lost {
        closed: e.is_connection_dropped(),
        error: unavailable(message, Effect::Unknown),
    }
}

/// A reply that no server of ours gives; whatever else is in the stream cannot be trusted.
pub(super) fn nonsense(why: &str) -> Failure {
    Failure::Lost {
        error: Error::with_effect(
            Kind::Server {
                message: format!("an answer that makes no sense: {why}"),
            },
            Effect::Unknown,
        ),
        closed: false,
    }
}

/// A server's error reply: a server that is there but cannot work now is unavailable.
pub(super) fn refused(message: &str, code: &str) -> Error {
    // Redis 6.2 wraps what fails inside of a script: `ERR Error running script …: READONLY …`.
    let wrapped = code == "ERR" && message.contains("Error running script");
    let away = |word: &&str| code == *word || (wrapped && message.contains(*word));
    let message = message.to_owned();
    match AWAY.iter().any(|word| away(&word)) {
        true => unavailable(message, Effect::None),
        false => Error::new(Kind::Server { message }),
    }
}

/// The codes of a server that loads, follows a lost or another primary, has too few replicas, or runs a slow script.
const AWAY: [&str; 7] = [
    "LOADING",
    "MASTERDOWN",
    "READONLY",
    "CLUSTERDOWN",
    "TRYAGAIN",
    "BUSY",
    "NOREPLICAS",
];

/// An error reply as the server wrote it.
pub(super) fn text(code: &str, detail: Option<&str>) -> String {
    match detail {
        Some(detail) => format!("{code} {detail}"),
        None => code.to_owned(),
    }
}

fn unavailable(message: String, effect: Effect) -> Error {
    Error::with_effect(Kind::Unavailable { message }, effect)
}

/// The same failure where something may have been done before it.
fn with_unknown_effect(error: &Error) -> Error {
    match error.kind() {
        Kind::Unavailable { message } => unavailable(message.clone(), Effect::Unknown),
        Kind::Server { message } => {
            let message = message.clone();
            Error::with_effect(Kind::Server { message }, Effect::Unknown)
        }
        _ => unavailable(error.to_string(), Effect::Unknown),
    }
}

/// A place in the pool. Its connection is made by the thread that needs it, so that a failure is that thread's own and
/// at once, where the pool would wait and retry.
#[derive(Default)]
struct Slot {
    connection: Option<Connection>,
    /// Its last connection was lost.
    failed: bool,
    /// Kept from request to request: packing into a warm one saves 4 to 13 percent at 256 KiB.
    buffer: Packed,
}

impl Slot {
    /// Gives the memory of an unusually big request back.
    fn trim(&mut self) {
        self.buffer.clear();
        self.buffer.bytes.shrink_to(limits::WARM_BUFFER_BYTES);
    }
}

struct Slots;

impl r2d2::ManageConnection for Slots {
    type Connection = Slot;
    type Error = Infallible;

    fn connect(&self) -> Result<Slot, Infallible> {
        Ok(Slot::default())
    }

    fn is_valid(&self, _: &mut Slot) -> Result<(), Infallible> {
        Ok(())
    }

    fn has_broken(&self, _: &mut Slot) -> bool {
        false
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_are_shown_without_credentials() {
        for (url, shown) in [
            ("redis://h:1/2", "redis://h:1/2"),
            ("redis://u:secret@h:1/", "redis://…@h:1/"),
            ("rediss://:se@cret@h/", "rediss://…@h/"),
            (
                "redis+unix:///s.sock?pass=secret&db=1",
                "redis+unix:///s.sock?…",
            ),
            ("u:secret@h", "…@h"),
        ] {
            assert_eq!(redacted(url), shown);
        }
        let mut config = ServerConfig::new("redis://u:secret@[h/");
        assert!(!format!("{config:?}").contains("secret"));
        let error = config.client().map(|_| ()).unwrap_err();
        assert!(error.is_config() && !format!("{error:?}").contains("secret"));
        config.url = "redis://h/".to_owned();
        config.response_timeout = Duration::ZERO;
        assert!(config.client().is_err_and(|e| e.is_config()));
    }
}
