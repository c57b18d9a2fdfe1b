//! The echo is for servers that may have lost something, not for those that are met for the first time.

use crate::{bed::*, support};
use cachetx::{Cache, Params, Store};

fn params(run: usize) -> Params {
    Params::new().with("run_id", format!("echo-{run}"))
}

/// A boot meets all primaries, and what was deleted on one of them is no news to the others.
#[test]
fn a_boot_is_no_reason_for_an_echo() {
    on_every_server(|bed| {
        let cache = bed.builder(support::rules());
        // Those that record name a port where no server is.
        let cache = cache.outbox_of_any_server();
        let cache = cache.open().expect("the cache opens");
        let mut nodes = bed.nodes();
        for run in 0..12 {
            let done = cache.invalidate(["build_climate"], &params(run));
            assert!(done.expect("deleted").is_settled());
            nodes.run::<()>(&["SET", &key(&format!("echo-{run}"), "ash"), "derived"]);
        }
        let store = Store::builder(&cache).root(bed.root.path()).open();
        let _store = store.expect("the store opens");
        let outbox = bed.root.path().join(".cachetx-outbox");
        // Once the background thread has replayed a second record, it has been through a whole round since.
        for records in 1..=2 {
            let away = Cache::builder(support::rules())
                .url("redis://127.0.0.1:1/")
                .outbox(&outbox)
                .open_lazy()
                .expect("a cache");
            let kept = away.invalidate(["build_climate"], &params(1_000));
            assert!(!kept.expect("recorded").is_settled());
            drop(away);
            support::until("a round is over", || {
                cache.stats().outbox_replayed == records
            });
        }
        let keys = (0..12).map(|run| key(&format!("echo-{run}"), "ash"));
        let left = keys.filter(|key| nodes.run::<u32>(&["EXISTS", key]) == 1);
        assert_eq!((left.count(), cache.stats().echoes), (12, 0));
    });
}
