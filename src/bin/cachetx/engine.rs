//! The server and engine options of the command line.

use crate::failure::Failure;
use cachetx::{CacheBuilder, Credentials, Engine, Rules, TlsOptions};
use std::{
    env::VarError,
    path::{Path, PathBuf},
};

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Name {
    /// Script where the server allows it, else Watch
    #[default]
    Auto,
    /// Lua scripts
    Script,
    /// A library of functions: Redis from 7.0 on, and Valkey
    Function,
    /// WATCH and MULTI, without Lua
    Watch,
}

impl From<Name> for Engine {
    fn from(name: Name) -> Self {
        match name {
            Name::Auto => Self::Auto,
            Name::Script => Self::Script,
            Name::Function => Self::Function,
            Name::Watch => Self::Watch,
        }
    }
}

#[derive(clap::Args)]
pub(crate) struct Server {
    /// The server, such as redis://127.0.0.1/; with --cluster or --sentinel there may be several, in CACHETX_URL with spaces in between
    #[arg(
        long = "url",
        value_name = "URL",
        required = true,
        value_delimiter = ' '
    )]
    #[arg(env = "CACHETX_URL", hide_env_values = true)]
    urls: Vec<String>,
    /// The URLs are of nodes of a Cluster: all of it is meant
    #[arg(long, conflicts_with = "sentinel")]
    cluster: bool,
    /// The URLs are of sentinels, with their own passwords: the primary of this name is meant
    #[arg(long, value_name = "NAME")]
    sentinel: Option<String>,
    /// A URL whose database number and scheme are those of the sentinels' primary; its host and port mean nothing
    #[arg(long, value_name = "URL", requires = "sentinel")]
    primary: Option<String>,
    /// A file that holds the server's password, in place of CACHETX_PASSWORD; CACHETX_USER may hold the user
    #[arg(long, value_name = "FILE")]
    password_file: Option<PathBuf>,
    /// The authorities that a rediss:// server's certificate is checked against (PEM); the system's by default
    #[arg(long, value_name = "FILE")]
    tls_ca: Option<PathBuf>,
    /// The certificate to show to a rediss:// server (PEM)
    #[arg(long, value_name = "FILE", requires = "tls_key")]
    tls_certificate: Option<PathBuf>,
    /// The certificate's key (PEM)
    #[arg(long, value_name = "FILE", requires = "tls_certificate")]
    tls_key: Option<PathBuf>,
    /// The name that a rediss:// server's certificate has to be for; the URL's host by default
    #[arg(long, value_name = "NAME")]
    tls_name: Option<String>,
    /// How operations run
    #[arg(long, value_enum, default_value_t)]
    engine: Name,
    /// The number of the database in which the locks are, where it is not the one that the URL names
    #[arg(long, value_name = "NUMBER")]
    lock_database: Option<u32>,
}

impl Server {
    pub(crate) fn of(&self, cache: CacheBuilder) -> Result<CacheBuilder, Failure> {
        let cache = cache.engine(self.engine.into()).tls(self.tls());
        let cache = match self.lock_database {
            Some(number) => cache.lock_database(number),
            None => cache,
        };
        // A command ends soon, so nobody has to be warned of its rules.
        let cache = self.reach(cache)?.without_rules_notice();
        match self.login()? {
            None => Ok(cache),
            Some(_) if self.entered().any(|url| url.contains('@')) => Err(Failure::Usage(
                "the URL has a user or a password, and CACHETX_PASSWORD or --password-file says another: leave one out"
                    .to_owned(),
            )),
            Some(login) => Ok(cache.credentials(move || login.ask().map_err(Into::into))),
        }
    }

    /// Sets which server to connect to.
    fn reach(&self, cache: CacheBuilder) -> Result<CacheBuilder, Failure> {
        let urls: Vec<&str> = self.urls().collect();
        match (&self.sentinel, &urls[..]) {
            (_, []) => Err(Failure::Usage(
                "no server: give it by --url or in CACHETX_URL".to_owned(),
            )),
            (Some(name), urls) => {
                let cache = match &self.primary {
                    Some(url) => cache.url(url),
                    None => cache,
                };
                Ok(cache.sentinel(name, urls.iter().copied()))
            }
            (None, urls) if self.cluster => Ok(cache.cluster(urls.iter().copied())),
            (None, [url]) => Ok(cache.url(*url)),
            (None, _) => Err(Failure::Usage(
                "several URLs are for --cluster or --sentinel NAME".to_owned(),
            )),
        }
    }

    fn urls(&self) -> impl Iterator<Item = &str> {
        let urls = self.urls.iter().map(|url| url.trim());
        urls.filter(|url| !url.is_empty())
    }

    /// The URLs of servers that CACHETX_PASSWORD is for.
    fn entered(&self) -> impl Iterator<Item = &str> {
        let direct = self.urls().filter(|_| self.sentinel.is_none());
        direct.chain(self.primary.as_deref())
    }

    fn login(&self) -> Result<Option<Login>, Failure> {
        let password = match (&self.password_file, std::env::var("CACHETX_PASSWORD")) {
            (Some(file), _) => Password::File(file.clone()),
            (None, Ok(password)) => Password::Given(password),
            (None, Err(VarError::NotPresent)) => return Ok(None),
            (None, Err(VarError::NotUnicode(_))) => {
                return Err(Failure::Usage("CACHETX_PASSWORD is not UTF-8".to_owned()));
            }
        };
        let login = Login {
            user: std::env::var("CACHETX_USER").ok(),
            password,
        };
        // Errors in a file show before a server is asked.
        login.ask().map_err(Failure::Usage)?;
        Ok(Some(login))
    }

    fn tls(&self) -> TlsOptions {
        let mut options = TlsOptions::new();
        if let Some(ca) = &self.tls_ca {
            options = options.root_ca(ca);
        }
        if let (Some(certificate), Some(key)) = (&self.tls_certificate, &self.tls_key) {
            options = options.client_certificate(certificate, key);
        }
        match &self.tls_name {
            Some(name) => options.server_name(name.as_str()),
            None => options,
        }
    }
}

struct Login {
    user: Option<String>,
    password: Password,
}

enum Password {
    Given(String),
    /// Read for each connection, since it may be replaced while a command runs.
    File(PathBuf),
}

impl Login {
    fn ask(&self) -> Result<Credentials, String> {
        let password = match &self.password {
            Password::Given(password) => password.clone(),
            Password::File(file) => {
                let text = std::fs::read_to_string(file).map_err(|e| {
                    let file = file.display();
                    format!("cannot read the password file {file}: {e}")
                })?;
                // Removes the line break that editors and `echo` add.
                text.trim_end_matches(['\r', '\n']).to_owned()
            }
        };
        Ok(match &self.user {
            Some(user) => Credentials::new(user, password),
            None => Credentials::password(password),
        })
    }
}

/// For commands that need no rules, or not always.
const NO_RULES: &str = r#"{ "version": "1.0", "cache_keys": {}, "rules": {} }"#;

/// The rules of a file that may be left out.
pub(crate) fn rules_or_none(file: Option<&Path>) -> Result<Rules, Failure> {
    Ok(match file {
        Some(file) => Rules::from_path(file)?,
        None => Rules::from_json(NO_RULES)?,
    })
}
