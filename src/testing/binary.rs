//! Finds the servers that this machine can run.

use std::{
    env, fmt,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    sync::OnceLock,
};

/// Redis or Valkey.
///
/// # Examples
///
/// ```
/// use cachetx::testing::{Flavour, ServerBinary};
///
/// let all = ServerBinary::all().iter();
/// println!("{} Valkeys", all.filter(|binary| binary.flavour() == Flavour::Valkey).count());
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Flavour {
    /// Redis.
    Redis,
    /// Valkey.
    Valkey,
}

/// A Redis or Valkey server program on this machine.
///
/// # Examples
///
/// ```
/// use cachetx::testing::{Server, ServerBinary};
///
/// if let Some(binary) = ServerBinary::any() {
///     let server = Server::start(binary)?; // ends when it is dropped
///     println!("{binary} at {}", server.url());
/// }
/// # Ok::<(), std::io::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServerBinary {
    path: PathBuf,
    flavour: Flavour,
    version: (u16, u16, u16),
}

impl ServerBinary {
    /// Every server found, oldest first, each version once: those under the folder that
    /// `CACHETX_SERVERS` names, or else under the nearest `target/servers`; then `redis-server` and
    /// `valkey-server` on `PATH`.
    #[must_use]
    pub fn all() -> &'static [Self] {
        static FOUND: OnceLock<Vec<ServerBinary>> = OnceLock::new();
        FOUND.get_or_init(find_all)
    }

    /// A server for tests that work with any server: the newest Redis, or else the newest Valkey.
    #[must_use]
    pub fn any() -> Option<&'static Self> {
        let of = |flavour| Self::all().iter().rfind(move |b| b.flavour == flavour);
        of(Flavour::Redis).or_else(|| of(Flavour::Valkey))
    }

    /// The server program at `path`; runs it to get its version. `None` if it is no server or does
    /// not run here.
    #[must_use]
    pub fn at(path: impl Into<PathBuf>) -> Option<Self> {
        let path = path.into();
        let output = Command::new(&path)
            .arg("--version")
            .stdin(Stdio::null())
            .output()
            .ok()?;
        let text = String::from_utf8_lossy(&output.stdout);
        let flavour = if text.contains("Valkey") {
            Flavour::Valkey
        } else if text.contains("Redis") {
            Flavour::Redis
        } else {
            return None;
        };
        let word = text
            .split_whitespace()
            .find_map(|word| word.strip_prefix("v="))?;
        let mut numbers = word.split('.').map(|n| n.parse().unwrap_or(0));
        let mut next = || numbers.next().unwrap_or(0);
        Some(Self {
            path,
            flavour,
            version: (next(), next(), next()),
        })
    }

    /// Where the program is.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Redis or Valkey.
    #[must_use]
    pub fn flavour(&self) -> Flavour {
        self.flavour
    }

    /// Major, minor and patch version.
    #[must_use]
    pub fn version(&self) -> (u16, u16, u16) {
        self.version
    }
}

/// `redis-7.0.15`.
impl fmt::Display for ServerBinary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (major, minor, patch) = self.version;
        let name = match self.flavour {
            Flavour::Redis => "redis",
            Flavour::Valkey => "valkey",
        };
        write!(f, "{name}-{major}.{minor}.{patch}")
    }
}

fn find_all() -> Vec<ServerBinary> {
    let mut paths = Vec::new();
    if let Some(folder) = servers_folder() {
        let entries = folder.read_dir().into_iter().flatten().flatten();
        let servers = entries.map(|entry| entry.path().join("bin").join("server"));
        paths.extend(servers.filter(|path| path.exists()));
        paths.sort();
    }
    for folder in env::split_paths(&env::var_os("PATH").unwrap_or_default()) {
        let servers = ["redis-server", "valkey-server"].map(|name| folder.join(name));
        paths.extend(servers.into_iter().filter(|path| path.exists()));
    }
    let mut found: Vec<ServerBinary> = Vec::new();
    for binary in paths.into_iter().filter_map(ServerBinary::at) {
        if !found
            .iter()
            .any(|b| (b.flavour, b.version) == (binary.flavour, binary.version))
        {
            found.push(binary);
        }
    }
    found.sort_by_key(|b| (b.flavour == Flavour::Valkey, b.version));
    found
}

fn servers_folder() -> Option<PathBuf> {
    if let Some(folder) = env::var_os("CACHETX_SERVERS") {
        return Some(folder.into());
    }
    let manifest = env::var_os("CARGO_MANIFEST_DIR").map(PathBuf::from);
    [manifest, env::current_dir().ok()]
        .into_iter()
        .flatten()
        .find_map(|start| {
            start
                .ancestors()
                .map(|folder| folder.join("target").join("servers"))
                .find(|folder| folder.is_dir())
        })
}
