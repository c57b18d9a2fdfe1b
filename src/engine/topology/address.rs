//! A server's host and port, as other servers know it.

use redis::ConnectionAddr;
use std::fmt;

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(in crate::engine) struct Address {
    pub(super) host: String,
    pub(super) port: u16,
}

impl Address {
    pub(super) fn new(host: impl Into<String>, port: u16) -> Self {
        Self {
            host: host.into(),
            port,
        }
    }

    pub(in crate::engine) fn of(address: &ConnectionAddr) -> Option<Self> {
        match address {
            ConnectionAddr::Tcp(host, port) | ConnectionAddr::TcpTls { host, port, .. } => {
                Some(Self::new(host, *port))
            }
            _ => None,
        }
    }

    /// `host:port`; the host may be empty, and may be an IPv6 address.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let (host, port) = text.rsplit_once(':')?;
        Some(Self::new(host, port.parse().ok()?))
    }

    /// No host, or `?`, is the one that was asked: a server that prefers to announce a host name and has none says so.
    pub(super) fn told_by(self, asked: Option<&Self>) -> Self {
        match asked {
            Some(asked) if self.host.is_empty() || self.host == "?" => {
                Self::new(&asked.host, self.port)
            }
            _ => self,
        }
    }

    /// This address, reached in the same way as `other`, with TLS or without.
    pub(in crate::engine) fn in_place_of(&self, other: &ConnectionAddr) -> Option<ConnectionAddr> {
        let (host, port) = (self.host.clone(), self.port);
        match other.clone() {
            ConnectionAddr::Tcp(..) => Some(ConnectionAddr::Tcp(host, port)),
            ConnectionAddr::TcpTls {
                insecure,
                tls_params,
                ..
            } => Some(ConnectionAddr::TcpTls {
                host,
                port,
                insecure,
                tls_params,
            }),
            _ => None,
        }
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.host, self.port)
    }
}
