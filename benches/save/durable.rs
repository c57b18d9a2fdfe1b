//! The whole save: lock, read the file, change it, write it durably, commit, unlock.

use crate::{
    by_hand::{ByHand, DocumentFile, RESPONSE_TIMEOUT, connect},
    pairs::{Pairs, Summary},
    scene::{CONTROLLER, Content, Names, RUN, TASK, rules},
};
use cachetx::{BoxError, Cache, CacheOutcome, Document, Store, testing::Server};
use std::path::Path;

struct Both {
    names: Names,
    plain: redis::Connection,
    ours: Document<Content>,
    by_hand: ByHand,
    file: DocumentFile,
}

impl Both {
    fn new(
        server: &Server,
        root: &Path,
        bytes: usize,
        dependents: usize,
    ) -> Result<Self, BoxError> {
        let rules = rules(dependents)?;
        let names = Names::new(&rules)?;
        let cache = Cache::builder(rules)
            .url(server.unix_url())
            .response_timeout(RESPONSE_TIMEOUT)
            .open()?;
        let store = Store::builder(cache).root(root.join("ours")).open()?;
        let ours = store.document(RUN, CONTROLLER)?;
        ours.create(&Content::of(bytes))?;
        let file = DocumentFile::new(&root.join("by_hand").join(RUN))?;
        file.write(&serde_json::to_vec(&Content::of(bytes))?)?;
        Ok(Self {
            plain: connect(&server.unix_url())?,
            by_hand: ByHand::new(&server.unix_url(), names.clone())?,
            names,
            ours,
            file,
        })
    }

    fn warm(&mut self) {
        self.names.warm(&mut self.plain).expect("MSET");
    }

    fn save(&mut self) {
        let mut content = self.ours.lock().expect("locked");
        content.saves += 1;
        let outcome = content.dump_and_unlock_with_transaction([TASK]);
        match outcome.expect("saved").cache {
            CacheOutcome::Committed { removed } => {
                assert_eq!(removed, self.names.dependents.len() as u64);
            }
            other => panic!("not committed: {other:?}"),
        }
    }

    fn save_by_hand(&mut self) {
        let token = self.by_hand.lock().expect("locked");
        let mut content = self.file.read().expect("read");
        content.saves += 1;
        let bytes = serde_json::to_vec(&content).expect("serialized");
        self.file.write(&bytes).expect("written");
        let removed = self.by_hand.commit_and_unlock(&bytes, &token);
        assert_eq!(removed.expect("committed"), self.names.dependents.len());
    }
}

/// Times both with their files below `root`.
pub fn measure(
    server: &Server,
    root: &Path,
    bytes: usize,
    dependents: usize,
    rounds: usize,
) -> Result<Summary, BoxError> {
    let folder = tempfile::tempdir_in(root)?;
    let mut both = Both::new(server, folder.path(), bytes, dependents)?;
    let (ours, by_hand) = (Both::save, Both::save_by_hand);
    Ok(Pairs::measure(rounds, &mut both, Both::warm, ours, by_hand).summary())
}
