//! Mutual TLS before a port without TLS, as in a service mesh.

use super::{super::plain, Papers};
use crate::testing::{Cluster, Server};
use rustls::{
    RootCertStore, ServerConfig, ServerConnection, StreamOwned,
    crypto::ring,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject as _},
    server::WebPkiClientVerifier,
};
use std::{
    io::{self, Read as _, Write as _},
    net::{TcpListener, TcpStream},
    sync::Arc,
    thread,
    time::{Duration, Instant},
};

/// Runs until the process ends.
pub(super) struct Front {
    port: u16,
}

/// The pause between two looks at both sides of a connection.
const LOOK: Duration = Duration::from_millis(1);

impl Front {
    pub(super) fn start(papers: &Papers, to: u16) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let config = Arc::new(config(papers));
        thread::spawn(move || {
            for client in listener.incoming().flatten() {
                let config = Arc::clone(&config);
                thread::spawn(move || serve(client, config, to));
            }
        });
        Self { port }
    }

    /// One front before each node; from then on the nodes announce the fronts' ports.
    pub(super) fn before_all(papers: &Papers, cluster: &Cluster) -> Vec<Self> {
        let nodes: Vec<&Server> = (0..6).map(|n| cluster.node(n)).collect();
        let fronts: Vec<Self> = nodes
            .iter()
            .map(|node| Self::start(papers, node.port()))
            .collect();
        let mut connections: Vec<_> = nodes.iter().map(|node| plain(&node.unix_url())).collect();
        for (connection, front) in connections.iter_mut().zip(&fronts) {
            let set = ["SET", "cluster-announce-port", &front.port.to_string()];
            redis::cmd("CONFIG").arg(&set).exec(connection).unwrap();
        }
        let until = Instant::now() + Duration::from_secs(60);
        for connection in &mut connections {
            loop {
                let table: String = redis::cmd("CLUSTER")
                    .arg("NODES")
                    .query(connection)
                    .unwrap();
                let known = |front: &Self| table.contains(&format!(":{}@", front.port));
                if fronts.iter().all(known) {
                    break;
                }
                assert!(
                    Instant::now() < until,
                    "the nodes do not tell their ports: {table}"
                );
                thread::sleep(LOOK);
            }
        }
        fronts
    }

    pub(super) fn url(&self) -> String {
        format!("rediss://127.0.0.1:{}/", self.port)
    }
}

fn config(papers: &Papers) -> ServerConfig {
    let provider = Arc::new(ring::default_provider());
    let read = |name| CertificateDer::pem_file_iter(papers.path(name)).unwrap();
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(read("ca.pem").flatten());
    let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider.clone());
    let key = PrivateKeyDer::from_pem_file(papers.path("server.key")).unwrap();
    ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_client_cert_verifier(verifier.build().unwrap())
        .with_single_cert(read("server.pem").flatten().collect(), key)
        .unwrap()
}

/// Forwards bytes both ways; ends when either side does.
fn serve(client: TcpStream, config: Arc<ServerConfig>, to: u16) {
    let mut tls = StreamOwned::new(ServerConnection::new(config).unwrap(), client);
    while tls.conn.is_handshaking() {
        if tls.conn.complete_io(&mut tls.sock).is_err() {
            return;
        }
    }
    let mut server = TcpStream::connect(("127.0.0.1", to)).unwrap();
    tls.sock.set_read_timeout(Some(LOOK)).unwrap();
    server.set_read_timeout(Some(LOOK)).unwrap();
    let mut buffer = vec![0; 64 * 1024];
    loop {
        let up = match carried(tls.read(&mut buffer)) {
            Some(n) => server.write_all(&buffer[..n]),
            None => return,
        };
        let down = match carried(server.read(&mut buffer)) {
            Some(n) => tls.write_all(&buffer[..n]).and_then(|()| tls.flush()),
            None => return,
        };
        if up.is_err() || down.is_err() {
            return;
        }
    }
}

/// The number of bytes; `None` at the end.
fn carried(read: io::Result<usize>) -> Option<usize> {
    match read {
        Ok(0) => None,
        Ok(n) => Some(n),
        Err(e)
            if matches!(
                e.kind(),
                io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut
            ) =>
        {
            Some(0)
        }
        Err(_) => None,
    }
}
