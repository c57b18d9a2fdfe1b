//! Where a server is and how to log in, from its URL.

use super::{
    socket::{Socket, Wire},
    tls,
};
use crate::engine::{Credentials, TlsOptions, address::Address};
use redis::{ConnectionAddr, IntoConnectionInfo as _};
use std::{io, path::PathBuf, time::Instant};

#[derive(Clone)]
pub(in crate::engine) struct Way {
    pub(in crate::engine) target: Target,
    /// The TLS options; `None` without TLS.
    pub(in crate::engine) tls: Option<TlsOptions>,
    /// From the URL.
    pub(in crate::engine) credentials: Option<Credentials>,
    pub(in crate::engine) database: u32,
    pub(in crate::engine) resp3: bool,
    /// Refuse a server that is not a primary.
    pub(in crate::engine) primary_only: bool,
    /// The caller's own client. Its connections are used, and all fields above are ignored.
    #[cfg(feature = "redis-1")]
    pub(in crate::engine) client: Option<redis::Client>,
}

#[derive(Clone)]
pub(in crate::engine) enum Target {
    Tcp(Address),
    Unix(PathBuf),
}

impl Target {
    fn of(address: &ConnectionAddr) -> Option<Self> {
        match address {
            ConnectionAddr::Tcp(host, port) | ConnectionAddr::TcpTls { host, port, .. } => {
                Some(Self::Tcp(Address::new(host, *port)))
            }
            ConnectionAddr::Unix(path) => Some(Self::Unix(path.clone())),
            _ => None,
        }
    }
}

/// The URL schemes that mean TLS, each with the one that is otherwise the same.
const TLS_SCHEMES: [(&str, &str); 2] = [("rediss://", "redis://"), ("valkeys://", "valkey://")];

pub(in crate::engine) fn is_tls(url: &str) -> bool {
    TLS_SCHEMES.iter().any(|(tls, _)| url.starts_with(tls))
}

impl Way {
    /// Parses the URL; TLS gets no options. The error never quotes the URL.
    pub(in crate::engine) fn parse(url: &str) -> Result<Self, String> {
        let secure = TLS_SCHEMES
            .iter()
            .find_map(|(tls, plain)| Some((plain, url.strip_prefix(tls)?)));
        // The client library accepts these schemes only with its own TLS.
        let plain = match secure {
            Some((plain, rest)) => format!("{plain}{rest}"),
            None => url.to_owned(),
        };
        let not_one = |_| "is not one: write redis://host:port/".to_owned();
        let info = plain.as_str().into_connection_info().map_err(not_one)?;
        let settings = info.redis_settings();
        let target = Target::of(info.addr()).ok_or("is not one")?;
        if secure.is_some_and(|(_, rest)| rest.contains('#')) {
            return Err("has a fragment: TLS without its checks is not offered".to_owned());
        }
        if secure.is_some() && !cfg!(feature = "tls") {
            return Err("needs the feature `tls`".to_owned());
        }
        let password = settings.password();
        Ok(Self {
            target,
            tls: secure.map(|_| TlsOptions::new()),
            credentials: password.map(|password| Credentials {
                user: settings.username().map(str::to_owned),
                password: password.to_owned(),
            }),
            database: u32::try_from(settings.db())
                .map_err(|_| "has a database number below zero".to_owned())?,
            resp3: settings.protocol().supports_resp3(),
            primary_only: false,
            #[cfg(feature = "redis-1")]
            client: None,
        })
    }

    /// For the caller's own client; the target is for messages only.
    #[cfg(feature = "redis-1")]
    pub(in crate::engine) fn of(client: &redis::Client) -> Result<Self, String> {
        let info = client.get_connection_info();
        Ok(Self {
            target: Target::of(info.addr()).ok_or("has an address of an unknown kind")?,
            tls: None,
            credentials: None,
            database: u32::try_from(info.redis_settings().db())
                .map_err(|_| "has a database number below zero")?,
            resp3: false,
            primary_only: false,
            client: Some(client.clone()),
        })
    }

    /// Host and port; `None` for a Unix socket.
    pub(in crate::engine) fn address(&self) -> Option<Address> {
        match &self.target {
            Target::Tcp(address) => Some(address.clone()),
            Target::Unix(_) => None,
        }
    }

    pub(super) fn connect(&self, until: Instant) -> io::Result<Box<dyn Wire>> {
        match (&self.target, &self.tls) {
            (Target::Unix(path), _) => Ok(Box::new(Socket::unix(path, until)?)),
            (Target::Tcp(at), None) => Ok(Box::new(Socket::tcp(&at.host, at.port, until)?)),
            (Target::Tcp(at), Some(options)) => {
                let socket = Socket::tcp(&at.host, at.port, until)?;
                tls::secured(socket, &at.host, options)
            }
        }
    }
}
