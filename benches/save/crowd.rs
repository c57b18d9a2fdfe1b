//! What other files in a run's folder cost its saves: one run with many, beside one with none, in turns.

use crate::{
    by_hand::RESPONSE_TIMEOUT,
    pairs::{Pairs, Summary},
    scene::{CONTROLLER, Content, TASK, rules},
};
use cachetx::{BoxError, Cache, Document, Store, testing::Server};
use std::{fs::File, path::Path};

const BYTES: usize = 1 << 10;
const DEPENDENTS: usize = 4;

struct Both {
    crowded: Document<Content>,
    empty: Document<Content>,
}

fn save(document: &Document<Content>) {
    let mut content = document.lock().expect("locked");
    content.saves += 1;
    let outcome = content.dump_and_unlock_with_transaction([TASK]);
    assert!(outcome.expect("saved").cache.is_settled());
}

/// Times saves in a folder with so many other files, and in one with none; the latter as "by hand".
pub fn measure(
    server: &Server,
    root: &Path,
    files: usize,
    rounds: usize,
) -> Result<Summary, BoxError> {
    let folder = tempfile::tempdir_in(root)?;
    let cache = Cache::builder(rules(DEPENDENTS)?)
        .url(server.unix_url())
        .response_timeout(RESPONSE_TIMEOUT)
        .open()?;
    let store = Store::builder(cache).root(folder.path()).open()?;
    let open = |run: &str| -> Result<Document<Content>, BoxError> {
        let document = store.document(run, CONTROLLER)?;
        document.create(&Content::of(BYTES))?;
        Ok(document)
    };
    let mut both = Both {
        crowded: open("crowded")?,
        empty: open("empty")?,
    };
    let crowd = folder.path().join("crowded");
    for n in 0..files {
        File::create(crowd.join(format!("hillslope_{n:06}.dat")))?;
    }
    // What was just made is not to be written back between the saves.
    File::open(&crowd)?.sync_all()?;
    let (ours, by_hand) = (
        |both: &mut Both| save(&both.crowded),
        |both: &mut Both| save(&both.empty),
    );
    Ok(Pairs::measure(rounds, &mut both, |_| {}, ours, by_hand).summary())
}
