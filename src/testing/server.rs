//! A private temporary server.

use super::{Proxy, ServerBinary, tls::Tls};
use std::{
    fs, io,
    io::Write as _,
    net::TcpListener,
    path::{Path, PathBuf},
    process::{Child, ChildStdin, Command, Stdio},
    sync::Arc,
    thread,
    time::{Duration, Instant},
};
use tempfile::TempDir;

/// How long a server may take to answer its first PING; it takes 5 to 40 ms on an idle machine.
const START_TIMEOUT: Duration = Duration::from_secs(20);
/// The pause between two checks of a server that starts or stops.
const POLL: Duration = Duration::from_millis(2);
/// The number of ports tried: another program may take a free port first.
const PORT_ATTEMPTS: u32 = 50;

/// Becomes the server (`exec`, so that the child's id is the server's), and leaves a watchdog
/// behind. If the pipe from the test process breaks, the watchdog kills the server and removes its
/// folder. A line on the pipe ends the watchdog.
const LAUNCH: &str = r#"dir=$1; shift; exec 3<&0
{ read -r _ <&3 || { kill -9 $$; rm -rf "$dir"; }; } & exec "$@" 3<&- </dev/null"#;

/// How a [`Server`] is started. By default: no password, no persistence, 16 databases, no TLS.
///
/// # Examples
/// ```
/// let options = cachetx::testing::ServerOptions::new().config("maxmemory", "4mb").password("secret");
/// ```
#[derive(Clone, Debug, Default)]
pub struct ServerOptions {
    args: Vec<String>,
    password: Option<String>,
    users: Vec<String>,
    tls: Option<Tls>,
    role: Role,
    proxied: bool,
}

/// The role in which the program is started.
#[derive(Clone, Debug, Default)]
enum Role {
    #[default]
    Server,
    /// A Cluster's node: its bus takes the port 10,000 above its own.
    ClusterNode,
    /// A sentinel, with the lines of its configuration file about the primaries that it watches.
    Sentinel(String),
}

/// The distance from a Cluster node's port to its bus port. Redis 6.2 cannot use another one.
pub(super) const BUS_OFFSET: u16 = 10_000;

impl ServerOptions {
    /// The defaults.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets a setting of the server's configuration, such as `("maxmemory", "10mb")`. The last one
    /// of a name wins.
    #[must_use]
    pub fn config(mut self, name: &str, value: &str) -> Self {
        self.args.extend([format!("--{name}"), value.to_owned()]);
        self
    }

    /// Renames a command. With an empty name it cannot be called at all.
    #[must_use]
    pub fn rename_command(mut self, name: &str, to: &str) -> Self {
        let words = ["--rename-command", name, to];
        self.args.extend(words.map(str::to_owned));
        self
    }

    /// Sets the default user's password (letters and digits).
    #[must_use]
    pub fn password(mut self, password: &str) -> Self {
        self.password = Some(password.to_owned());
        self
    }

    /// Adds a user of the server's ACL file: `alice on >secret ~* +@all`. Name `default` to
    /// restrict the default user.
    #[must_use]
    pub fn user(mut self, rule: &str) -> Self {
        self.users.push(format!("user {rule}"));
        self
    }

    /// Serves TLS on the TCP port, with a certificate and its key, both PEM. Clients need no certificate.
    #[must_use]
    pub fn tls(mut self, certificate: impl Into<PathBuf>, key: impl Into<PathBuf>) -> Self {
        self.tls = Some(Tls {
            certificate: certificate.into(),
            key: key.into(),
            authority: None,
        });
        self
    }

    /// Serves mutual TLS on the TCP port: as [`tls`](Self::tls), and clients must present a
    /// certificate that `authority` (PEM) has signed. The servers of a Cluster also use it among
    /// themselves, each with its own certificate, and so do a primary, its replicas and their
    /// sentinels.
    #[must_use]
    pub fn mutual_tls(
        mut self,
        certificate: impl Into<PathBuf>,
        key: impl Into<PathBuf>,
        authority: impl Into<PathBuf>,
    ) -> Self {
        self.tls = Some(Tls {
            certificate: certificate.into(),
            key: key.into(),
            authority: Some(authority.into()),
        });
        self
    }

    /// Puts a [`Proxy`] in front of the TCP port. A Cluster's nodes and sentinels name the proxy's
    /// port to clients.
    #[must_use]
    pub fn proxied(mut self) -> Self {
        self.proxied = true;
        self
    }

    /// A Cluster's node, which has not met the others yet.
    pub(super) fn cluster_node(mut self) -> Self {
        self.role = Role::ClusterNode;
        match self.tls {
            Some(_) => self.config("tls-cluster", "yes"),
            None => self,
        }
        .config("cluster-enabled", "yes")
    }

    /// A sentinel for servers with these options; `watches` are lines of its configuration file.
    pub(super) fn sentinel(&self, watches: String) -> Self {
        Self {
            role: Role::Sentinel(watches),
            tls: self.tls.clone(),
            ..Self::default()
        }
    }

    /// A port of 127.0.0.1 that is currently free.
    fn free_port(&self) -> io::Result<u16> {
        let port = TcpListener::bind("127.0.0.1:0")?.local_addr()?.port();
        if let Role::ClusterNode = self.role {
            let bus = port
                .checked_add(BUS_OFFSET)
                .ok_or(io::ErrorKind::AddrInUse)?;
            TcpListener::bind(("127.0.0.1", bus))?;
        }
        Ok(port)
    }

    /// Starts a proxy for `port`, if one was requested. The server announces it in place of its own
    /// port.
    fn start_proxy(&mut self, port: u16) -> io::Result<Option<Arc<Proxy>>> {
        if !self.proxied {
            return Ok(None);
        }
        let proxy = Arc::new(Proxy::start(port)?);
        let name = match self.role {
            Role::ClusterNode => "cluster-announce-port",
            Role::Server => "replica-announce-port",
            Role::Sentinel(_) => return Ok(Some(proxy)),
        };
        let value = proxy.port().to_string();
        self.args.extend([format!("--{name}"), value]);
        Ok(Some(proxy))
    }

    /// Starts `binary` with these options.
    ///
    /// # Errors
    /// The server does not start; its log is part of the message.
    pub fn start(mut self, binary: &ServerBinary) -> io::Result<Server> {
        let dir = tempfile::Builder::new().prefix("cachetx-").tempdir()?;
        if !self.users.is_empty() {
            fs::write(dir.path().join("users.acl"), self.users.join("\n") + "\n")?;
        }
        let mut last = io::Error::other("no port tried");
        for _ in 0..PORT_ATTEMPTS {
            let started = self.free_port().and_then(|port| {
                let proxy = self.start_proxy(port)?;
                let running = Running::start(binary, &self, dir.path(), port)?;
                Ok((port, proxy, running))
            });
            match started {
                Ok((port, proxy, running)) => {
                    return Ok(Server {
                        binary: binary.clone(),
                        options: self,
                        port,
                        proxy,
                        running: Some(running),
                        dir,
                    });
                }
                Err(e) if e.kind() == io::ErrorKind::AddrInUse => last = e,
                Err(e) => return Err(e),
            }
        }
        Err(last)
    }
}

/// A private server on a free port of 127.0.0.1 and a Unix socket, in a temporary folder of its own.
///
/// Dropping it kills the server. If the test process is killed, the server is killed too.
///
/// # Examples
/// ```
/// use cachetx::testing::{Server, ServerBinary};
///
/// if let Some(binary) = ServerBinary::any() {
///     let server = Server::start(binary)?;
///     assert!(server.url().starts_with("redis://127.0.0.1:"));
/// }
/// # Ok::<(), std::io::Error>(())
/// ```
#[derive(Debug)]
pub struct Server {
    binary: ServerBinary,
    options: ServerOptions,
    port: u16,
    proxy: Option<Arc<Proxy>>,
    /// Before `dir`: the server ends before its folder is removed.
    running: Option<Running>,
    dir: TempDir,
}

impl Server {
    /// Starts `binary` with the default [`ServerOptions`].
    ///
    /// # Errors
    /// The server does not start; its log is part of the message.
    pub fn start(binary: &ServerBinary) -> io::Result<Self> {
        ServerOptions::new().start(binary)
    }

    /// The running program.
    #[must_use]
    pub fn binary(&self) -> &ServerBinary {
        &self.binary
    }

    /// The TCP port, on 127.0.0.1.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The proxy of [`ServerOptions::proxied`]. The server's own port and URL bypass it.
    #[must_use]
    pub fn proxy(&self) -> Option<&Arc<Proxy>> {
        self.proxy.as_ref()
    }

    /// The port by which other servers know it, and which they name to clients.
    pub(super) fn announced_port(&self) -> u16 {
        self.proxy.as_ref().map_or(self.port, |proxy| proxy.port())
    }

    /// The server's folder: its log, its RDB file and its socket.
    #[must_use]
    pub fn dir(&self) -> &Path {
        self.dir.path()
    }

    /// The URL of the TCP port, with the password if one was set; `rediss:` with TLS.
    #[must_use]
    pub fn url(&self) -> String {
        let scheme = match self.options.tls {
            Some(_) => "rediss",
            None => "redis",
        };
        let password = self.options.password.as_ref();
        let login = password.map_or_else(String::new, |p| format!(":{p}@"));
        format!("{scheme}://{login}127.0.0.1:{}/", self.port)
    }

    /// The URL of the TCP port for a user of [`ServerOptions::user`].
    #[must_use]
    pub fn url_as(&self, user: &str, password: &str) -> String {
        let (scheme, _) = self.url().split_once(':').map_or_else(
            || ("redis".to_owned(), ()),
            |(scheme, _)| (scheme.to_owned(), ()),
        );
        format!("{scheme}://{user}:{password}@127.0.0.1:{}/", self.port)
    }

    /// The URL of the Unix socket, with the password if one was set.
    #[must_use]
    pub fn unix_url(&self) -> String {
        unix_url(self.dir.path(), self.options.password.as_deref())
    }

    /// The process id of the running server.
    #[must_use]
    pub fn pid(&self) -> Option<u32> {
        self.running.as_ref().map(|running| running.child.id())
    }

    /// Shuts the server down without saving. Does nothing if it is already down.
    pub fn stop(&mut self) {
        if let Some(running) = self.running.take() {
            let asked = redis::Client::open(self.unix_url())
                .and_then(|client| client.get_connection_with_timeout(START_TIMEOUT))
                .and_then(|mut connection| {
                    connection.set_read_timeout(Some(START_TIMEOUT))?;
                    redis::cmd("SHUTDOWN").arg("NOSAVE").exec(&mut connection)
                });
            // The connection ends with the server, so an answer is a refusal; then the server is
            // killed.
            running.end(asked.is_err_and(|e| e.is_connection_dropped()));
        }
    }

    /// Kills the server (SIGKILL). Does nothing if it is already down.
    pub fn kill(&mut self) {
        if let Some(running) = self.running.take() {
            running.end(false);
        }
    }

    /// Starts the server again with the same port and folder. Calls [`stop`](Self::stop) first if
    /// the server still runs: unsaved data is lost.
    ///
    /// # Errors
    /// The server does not start; its log is part of the message.
    pub fn restart(&mut self) -> io::Result<()> {
        self.stop();
        let running = Running::start(&self.binary, &self.options, self.dir.path(), self.port)?;
        self.running = Some(running);
        Ok(())
    }

    /// Halts the process (SIGSTOP): its port still accepts connections, and nothing is answered.
    ///
    /// # Errors
    /// The server is down.
    pub fn pause(&self) -> io::Result<()> {
        self.signal(rustix::process::Signal::STOP)
    }

    /// Resumes a paused process.
    ///
    /// # Errors
    /// The server is down.
    pub fn resume(&self) -> io::Result<()> {
        self.signal(rustix::process::Signal::CONT)
    }

    fn signal(&self, signal: rustix::process::Signal) -> io::Result<()> {
        let pid = self.pid().and_then(|pid| i32::try_from(pid).ok());
        let pid = pid
            .and_then(rustix::process::Pid::from_raw)
            .ok_or_else(|| io::Error::other("the server is down"))?;
        Ok(rustix::process::kill_process(pid, signal)?)
    }
}

#[derive(Debug)]
struct Running {
    child: Child,
    /// This end of the watchdog's pipe.
    watchdog: Option<ChildStdin>,
}

impl Running {
    fn start(
        binary: &ServerBinary,
        options: &ServerOptions,
        dir: &Path,
        port: u16,
    ) -> io::Result<Self> {
        let log = dir.join("server.log");
        let mut command = Command::new("sh");
        command
            .args(["-c", LAUNCH, "sh"])
            .arg(dir)
            .arg(binary.path());
        if let Role::Sentinel(watches) = &options.role {
            // A sentinel rewrites its file as it learns; a restarted one continues from it.
            let file = dir.join("sentinel.conf");
            if !file.exists() {
                fs::write(&file, watches)?;
            }
            command.arg(file).arg("--sentinel");
        } else {
            command.args(["--save", "", "--appendonly", "no"]);
        }
        command.args(["--bind", "127.0.0.1"]);
        command.arg("--unixsocket").arg(socket(dir));
        command.arg("--dir").arg(dir);
        match &options.tls {
            None => {
                command.args(["--port", &port.to_string()]);
            }
            Some(tls) => tls.arguments(port, &mut command),
        }
        if let Some(password) = &options.password {
            command.args(["--requirepass", password]);
        }
        if !options.users.is_empty() {
            command.arg("--aclfile").arg(dir.join("users.acl"));
        }
        let out = fs::File::create(&log)?;
        command.args(&options.args).stdin(Stdio::piped());
        command.stdout(out.try_clone()?).stderr(out);
        let mut child = command.spawn()?;
        let watchdog = child.stdin.take();
        let mut running = Self { child, watchdog };
        running
            .wait(dir, options.password.as_deref())
            .map_err(|e| {
                let text = fs::read_to_string(&log).unwrap_or_default();
                let busy =
                    text.contains("Address already in use") || text.contains("Failed listening");
                let kind = if busy {
                    io::ErrorKind::AddrInUse
                } else {
                    e.kind()
                };
                io::Error::new(kind, format!("{binary}: {e}; its log: {text}"))
            })?;
        Ok(running)
    }

    /// Waits until a PING is answered, on the Unix socket: the port might be another program's.
    fn wait(&mut self, dir: &Path, password: Option<&str>) -> io::Result<()> {
        let deadline = Instant::now() + START_TIMEOUT;
        while Instant::now() < deadline {
            if let Some(status) = self.child.try_wait()? {
                return Err(io::Error::other(format!("the server ended with {status}")));
            }
            if answers(dir, password) {
                return Ok(());
            }
            thread::sleep(POLL);
        }
        Err(io::Error::other("the server does not answer"))
    }

    fn end(mut self, leaving: bool) {
        let deadline = Instant::now() + START_TIMEOUT;
        while leaving && Instant::now() < deadline && matches!(self.child.try_wait(), Ok(None)) {
            thread::sleep(POLL);
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // Both do nothing on a server that has ended; their failures cannot be handled.
        let _ = self.child.kill();
        if let Some(mut watchdog) = self.watchdog.take() {
            let _ = watchdog.write_all(b"\n");
        }
        let _ = self.child.wait();
    }
}

fn socket(dir: &Path) -> PathBuf {
    dir.join("s.sock")
}

fn unix_url(dir: &Path, password: Option<&str>) -> String {
    let query = password.map_or_else(String::new, |p| format!("?pass={p}"));
    format!("redis+unix://{}{query}", socket(dir).display())
}

fn answers(dir: &Path, password: Option<&str>) -> bool {
    let ping = || {
        let client = redis::Client::open(unix_url(dir, password))?;
        let mut connection = client.get_connection_with_timeout(START_TIMEOUT)?;
        connection.set_read_timeout(Some(START_TIMEOUT))?;
        redis::cmd("PING").exec(&mut connection)
    };
    match ping() {
        Ok(()) => true,
        // A server that denies the default user is also up.
        Err(e) => {
            matches!(e.code(), Some("NOPERM" | "NOAUTH" | "WRONGPASS")) || {
                e.kind() == redis::ErrorKind::AuthenticationFailed
            }
        }
    }
}
