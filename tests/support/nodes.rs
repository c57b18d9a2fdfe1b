//! A plain client of several servers, to prepare and inspect: it asks one after the other until a
//! primary has the key.

use redis::{Connection, ErrorKind, FromRedisValue, RedisError, Value};
use std::{
    thread,
    time::{Duration, Instant},
};

const PATIENCE: Duration = Duration::from_secs(30);

pub struct Nodes {
    nodes: Vec<(String, Option<Connection>)>,
}

impl Nodes {
    pub fn of(urls: impl IntoIterator<Item = String>) -> Self {
        Self {
            nodes: urls.into_iter().map(|url| (url, None)).collect(),
        }
    }

    /// Runs a command on a server that accepts it.
    pub fn run<T: FromRedisValue>(&mut self, words: &[&str]) -> T {
        let end = Instant::now() + PATIENCE;
        loop {
            if let Some(done) = self.try_run(words) {
                return done;
            }
            assert!(Instant::now() < end, "nobody takes {words:?}");
            thread::sleep(Duration::from_millis(5));
        }
    }

    /// The same with one round; `None` if no server accepts it now.
    pub fn try_run<T: FromRedisValue>(&mut self, words: &[&str]) -> Option<T> {
        (0..self.nodes.len()).find_map(|n| self.try_on(n, words).ok())
    }

    pub fn run_on<T: FromRedisValue>(&mut self, n: usize, words: &[&str]) -> T {
        self.try_on(n, words)
            .unwrap_or_else(|e| panic!("{words:?}: {e}"))
    }

    fn try_on<T: FromRedisValue>(&mut self, n: usize, words: &[&str]) -> Result<T, RedisError> {
        let (url, connection) = &mut self.nodes[n];
        let mut open = match connection.take() {
            Some(open) => open,
            None => {
                let client = redis::Client::open(url.as_str())?;
                let open = client.get_connection_with_timeout(PATIENCE)?;
                open.set_read_timeout(Some(PATIENCE))?;
                open
            }
        };
        // A replica would answer too, with data from before its primary's last writes.
        let answer = redis::cmd("ROLE")
            .query(&mut open)
            .and_then(|role| match role {
                Value::Array(parts)
                    if parts.first() == Some(&Value::BulkString(b"master".to_vec())) =>
                {
                    redis::cmd(words[0]).arg(&words[1..]).query(&mut open)
                }
                _ => Err((ErrorKind::Client, "not a primary").into()),
            });
        if !matches!(&answer, Err(e) if e.is_io_error()) {
            *connection = Some(open);
        }
        answer
    }
}
