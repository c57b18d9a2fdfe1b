//! User and password from a callback: rotated under load, wrong, and not there.

use crate::support::{self, World, rotation::Rotation};
use cachetx::{BoxError, CacheBuilder, Credentials, Effect, Params, Store};
use std::{
    sync::atomic::{AtomicU64, Ordering::SeqCst},
    time::Duration,
};

fn at(world: &World) -> CacheBuilder {
    support::cache_builder()
        .url(world.server.url())
        .response_timeout(Duration::from_secs(10))
}

#[test]
fn no_save_fails_while_the_password_is_rotated() {
    support::on_every_server(|world| {
        let rotation = Rotation::on([&world.server]);
        let cache = at(world).credentials(rotation.credentials());
        let store = Store::builder(cache.open().unwrap())
            .root(world.root.path())
            .open()
            .unwrap();
        rotation.under_load(&store, support::RUN);
    });
}

#[test]
fn a_password_that_was_replaced_meanwhile_is_asked_for_once_more() {
    let world = World::start();
    let rotation = Rotation::on([&world.server]);
    let (right, asked) = (rotation.credentials(), AtomicU64::new(0));
    let cache = at(&world).credentials(move || match asked.fetch_add(1, SeqCst) {
        0 => Ok(Credentials::new("alice", "the one before")),
        _ => right(),
    });
    cache.open().unwrap();
    assert_eq!(rotation.asked.load(SeqCst), 1, "the connection is kept");
}

#[test]
fn what_the_callback_does_wrong_is_said_and_changes_nothing() {
    let world = World::start();
    let rotation = Rotation::on([&world.server]);
    let mut redis = world.redis();
    let rules = ["SETUSER", "default", "resetpass", ">other"];
    redis::cmd("ACL").arg(&rules).exec(&mut redis).unwrap();
    let told = |ask: fn() -> Result<Credentials, BoxError>, what: &str| {
        let cache = at(&world).credentials(ask).open_lazy().unwrap();
        let params = Params::new().with("run_id", support::RUN);
        let error = cache.get("climate", &params).unwrap_err();
        assert!(error.is_unavailable() && error.is_retryable(), "{error:?}");
        assert_eq!(error.effect(), Effect::None);
        let text = format!("{error} {error:?} {cache:?}");
        assert!(text.contains(what) && !text.contains("wrong!"), "{text}");
    };
    told(|| Err("the vault is sealed".into()), "the vault is sealed");
    told(|| panic!("the vault is gone"), "it panicked");
    told(|| Ok(Credentials::new("alice", "wrong!")), "WRONGPASS");
    told(
        || Ok(Credentials::password("wrong!")),
        "CacheBuilder::credentials",
    );

    let both = support::cache_builder().url("redis://:wrong!@127.0.0.1/");
    let both = both.credentials(rotation.credentials());
    assert!(!format!("{both:?}").contains("wrong!"));
    let error = both.open_lazy().map(drop).unwrap_err();
    assert!(error.is_config() && !format!("{error:?}").contains("wrong!"));
}
