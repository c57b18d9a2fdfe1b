//! User and password from a callback, in a Cluster and behind Sentinel.

use crate::{
    bed,
    support::{self, rotation::Rotation},
};
use cachetx::{BoxError, Cache, Credentials, Store, testing::SentinelTrio};
use std::time::Duration;

#[test]
fn no_save_fails_while_the_password_is_rotated_in_a_cluster() {
    bed::on_every_server(|bed| {
        let nodes: Vec<_> = (0..6).map(|n| bed.cluster.node(n)).collect();
        let rotation = Rotation::on(nodes);
        let cache = bed
            .builder(support::rules())
            .response_timeout(Duration::from_secs(10))
            .credentials(rotation.credentials());
        let store = Store::builder(cache.open().unwrap()).root(bed.root.path());
        rotation.under_load(&store.open().unwrap(), "rotated");
    });
}

#[test]
fn sentinels_and_the_primary_have_passwords_of_their_own() {
    let mut trio = SentinelTrio::start(support::any_binary()).unwrap();
    for n in 0..3 {
        let mut sentinel = support::connect(trio.sentinel_mut(n));
        let rules = ["SETUSER", "default", "resetpass", ">watched"];
        redis::cmd("ACL").arg(&rules).exec(&mut sentinel).unwrap();
    }
    let rotation = Rotation::on((0..3).map(|n| trio.server(n)));
    let behind = |ask: fn() -> Result<Credentials, BoxError>| {
        let cache = Cache::builder(support::rules()).sentinel(trio.name(), trio.urls());
        let cache = cache.response_timeout(Duration::from_secs(10));
        let cache = cache.credentials(rotation.credentials());
        cache.sentinel_credentials(ask).open()
    };
    let refused = behind(|| Ok(Credentials::password("wrong!"))).map(drop);
    let refused = refused.unwrap_err().to_string();
    assert!(
        refused.contains("no sentinel says") && refused.contains("WRONGPASS"),
        "{refused}"
    );
    assert!(!refused.contains("wrong!"));
    let cache = behind(|| Ok(Credentials::password("watched"))).unwrap();
    let root = tempfile::tempdir().unwrap();
    let store = Store::builder(&cache).root(root.path()).open().unwrap();
    rotation.under_load(&store, support::RUN);
}
