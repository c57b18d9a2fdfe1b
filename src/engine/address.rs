//! A server's host and port, as other servers know it.

use std::fmt;

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Address {
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

    /// `host:port`; the host may be empty, and may be an IPv6 address.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let (host, port) = text.rsplit_once(':')?;
        Some(Self::new(host, port.parse().ok()?))
    }

    /// An empty host or `?` means the server that was asked: one that prefers to announce a host
    /// name, and has none, answers so.
    pub(super) fn told_by(self, asked: Option<&Self>) -> Self {
        match asked {
            Some(asked) if self.host.is_empty() || self.host == "?" => {
                Self::new(&asked.host, self.port)
            }
            _ => self,
        }
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.host, self.port)
    }
}
