//! Lock and commit alone: what a save costs on the server and in the library, without a file.

use crate::{
    by_hand::{ByHand, RESPONSE_TIMEOUT, connect},
    pairs::{Pairs, Summary},
    scene::{CONTROLLER, Names, TASK, params, rules},
};
use cachetx::{
    BoxError, Cache,
    testing::{FilelessDocument, Proxy, Server},
};
use std::sync::Arc;

struct Both {
    names: Names,
    plain: redis::Connection,
    ours: FilelessDocument,
    by_hand: ByHand,
    bytes: Arc<[u8]>,
}

impl Both {
    fn new(plain: &str, url: &str, bytes: usize, dependents: usize) -> Result<Self, BoxError> {
        let rules = rules(dependents)?;
        let names = Names::new(&rules)?;
        let cache = Cache::builder(rules)
            .url(url)
            .response_timeout(RESPONSE_TIMEOUT)
            .open()?;
        Ok(Self {
            plain: connect(plain)?,
            ours: FilelessDocument::new(&cache, CONTROLLER, &[TASK], params())?,
            by_hand: ByHand::new(url, names.clone())?,
            names,
            bytes: format!("\"{}\"", "v".repeat(bytes - 2)).into_bytes().into(),
        })
    }

    fn warm(&mut self) {
        self.names.warm(&mut self.plain).expect("MSET");
    }

    fn save(&mut self) {
        let removed = self.ours.save(self.bytes.clone()).expect("committed");
        assert_eq!(removed, self.names.dependents.len() as u64);
    }

    fn save_by_hand(&mut self) {
        let token = self.by_hand.lock().expect("locked");
        let removed = self.by_hand.commit_and_unlock(&self.bytes, &token);
        assert_eq!(removed.expect("committed"), self.names.dependents.len());
    }
}

/// Times both over `url`, which leads to `server`.
pub fn measure(
    server: &Server,
    url: &str,
    bytes: usize,
    dependents: usize,
    rounds: usize,
) -> Result<Summary, BoxError> {
    let mut both = Both::new(&server.unix_url(), url, bytes, dependents)?;
    let (ours, by_hand) = (Both::save, Both::save_by_hand);
    Ok(Pairs::measure(rounds, &mut both, Both::warm, ours, by_hand).summary())
}

/// Round trips of one save, counted on the wire: ours, by hand.
pub fn round_trips(server: &Server) -> Result<(u64, u64), BoxError> {
    let proxy = Proxy::start(server.port())?;
    let mut both = Both::new(&server.unix_url(), &proxy.url(), 1 << 10, 4)?;
    let mut counted = |way: fn(&mut Both)| {
        // The first one opens connections and loads scripts.
        for _ in 0..2 {
            both.warm();
            proxy.reset();
            way(&mut both);
        }
        proxy.traffic().round_trips
    };
    Ok((counted(Both::save), counted(Both::save_by_hand)))
}
