//! TLS on a socket, with rustls.

use super::socket::{Socket, Wire};
use crate::engine::TlsOptions;
use rustls::{
    ClientConfig, ClientConnection, RootCertStore, StreamOwned,
    crypto::{CryptoProvider, ring},
    pki_types::{CertificateDer, PrivateKeyDer, ServerName, pem::PemObject as _},
};
use std::{
    io,
    path::Path,
    sync::{Arc, LazyLock},
};

impl Wire for StreamOwned<ClientConnection, Socket> {
    fn socket(&mut self) -> &mut Socket {
        &mut self.sock
    }
}

/// Wraps a socket that is connected to `host` in TLS, and completes the handshake.
pub(super) fn secured(
    mut socket: Socket,
    host: &str,
    options: &TlsOptions,
) -> io::Result<Box<dyn Wire>> {
    let name = options.server_name.as_deref().unwrap_or(host);
    let name = ServerName::try_from(name.to_owned()).map_err(|_| {
        let why = format!("TLS: `{name}` is no name that a certificate can have");
        io::Error::new(io::ErrorKind::InvalidInput, why)
    })?;
    // The files are read for each connection, since certificates are replaced while programs run.
    let mut connection = ClientConnection::new(Arc::new(config(options)?), name).map_err(failed)?;
    while connection.is_handshaking() {
        connection
            .complete_io(&mut socket)
            .map_err(|e| explained(&e))?;
    }
    Ok(Box::new(StreamOwned::new(connection, socket)))
}

pub(super) fn check(options: &TlsOptions) -> io::Result<()> {
    config(options).map(drop)
}

/// Reads the files that the options name.
fn config(options: &TlsOptions) -> io::Result<ClientConfig> {
    // The program's own choice, if it has made one.
    let provider = match CryptoProvider::get_default() {
        Some(chosen) => Arc::clone(chosen),
        None => Arc::new(ring::default_provider()),
    };
    let builder = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(failed)?;
    let builder = match &options.root_ca {
        Some(path) => builder.with_root_certificates(roots(path)?),
        None => builder.with_root_certificates(Arc::clone(&USUAL_ROOTS)),
    };
    let Some((certificate, key)) = &options.client_certificate else {
        return Ok(builder.with_no_client_auth());
    };
    let chain = certificates(certificate)?;
    let key = PrivateKeyDer::from_pem_file(key)
        .map_err(|e| unusable(key, &format!("not usable as a private key in PEM: {e}")))?;
    let config = builder.with_client_auth_cert(chain, key);
    config.map_err(|e| unusable(certificate, &format!("certificate and key do not fit: {e}")))
}

/// The system's roots, or Mozilla's if the system has none.
static USUAL_ROOTS: LazyLock<Arc<RootCertStore>> = LazyLock::new(|| {
    let mut roots = RootCertStore::empty();
    let found = rustls_native_certs::load_native_certs();
    for error in found.errors {
        log::warn!("TLS: the system's certificates: {error}");
    }
    roots.add_parsable_certificates(found.certs);
    if roots.is_empty() {
        roots.extend(webpki_roots::TLS_SERVER_ROOTS.iter().cloned());
    }
    Arc::new(roots)
});

fn roots(path: &Path) -> io::Result<RootCertStore> {
    let mut roots = RootCertStore::empty();
    for certificate in certificates(path)? {
        let added = roots.add(certificate);
        added.map_err(|e| unusable(path, &format!("not usable as an authority: {e}")))?;
    }
    Ok(roots)
}

/// Reads at least one certificate: none is an error.
fn certificates(path: &Path) -> io::Result<Vec<CertificateDer<'static>>> {
    use rustls::pki_types::pem::Error;
    let bad = |e| match e {
        Error::Io(e) => io::Error::new(e.kind(), format!("TLS: {}: {e}", path.display())),
        e => unusable(path, &format!("not usable as certificates in PEM: {e}")),
    };
    let read = CertificateDer::pem_file_iter(path).map_err(bad)?;
    let read: Vec<_> = read.collect::<Result<_, _>>().map_err(bad)?;
    match read.is_empty() {
        true => Err(unusable(path, "no certificate in it")),
        false => Ok(read),
    }
}

fn unusable(path: &Path, why: &str) -> io::Error {
    let message = format!("TLS: {}: {why}", path.display());
    io::Error::new(io::ErrorKind::InvalidData, message)
}

fn failed(e: rustls::Error) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, format!("TLS: {e}"))
}

/// The connection's error, with advice if TLS is the reason.
pub(super) fn explained(e: &io::Error) -> io::Error {
    use rustls::{AlertDescription as Alert, CertificateError as Bad, Error};
    let cause = e.get_ref().and_then(|e| e.downcast_ref::<Error>());
    let help = match cause {
        None => return io::Error::new(e.kind(), e.to_string()),
        Some(Error::InvalidCertificate(Bad::UnknownIssuer | Bad::BadSignature)) => {
            ": nobody who is trusted has signed the server's certificate (TlsOptions::root_ca)"
        }
        Some(Error::InvalidCertificate(
            Bad::NotValidForName | Bad::NotValidForNameContext { .. },
        )) => ": the server's certificate is for another name (TlsOptions::server_name)",
        Some(Error::AlertReceived(Alert::CertificateRequired)) => {
            ": the server wants a client certificate (TlsOptions::client_certificate)"
        }
        Some(Error::AlertReceived(
            Alert::UnknownCA | Alert::BadCertificate | Alert::CertificateExpired,
        )) => ": the server refuses the client certificate (TlsOptions::client_certificate)",
        Some(Error::InvalidMessage(_)) => ": the server speaks no TLS on this port, it seems",
        Some(_) => "",
    };
    io::Error::new(e.kind(), format!("TLS: {e}{help}"))
}
