//! What a boot warns of: a record for each cause, once, however often the server is booted.

use crate::support::{self, RUN, World, warnings};
use cachetx::Params;

#[test]
fn each_cause_is_one_warning_and_not_one_for_each_boot() {
    let world = World::start();
    let mut redis = world.redis();
    let mut set = |command: &[&str]| {
        let mut request = redis::cmd(command[0]);
        request.arg(&command[1..]).exec(&mut redis).expect("set");
    };
    set(&["CONFIG", "SET", "maxmemory", "1gb"]);
    set(&["CONFIG", "SET", "maxmemory-policy", "volatile-lru"]);
    set(&["CONFIG", "SET", "save", "3600 1"]);
    let cache = world.cache();
    let of_this_server = |what: &str| warnings::with(&format!("{}: {what}", world.server.url()));
    assert_eq!(of_this_server("maxmemory-policy volatile-lru"), 1);
    assert_eq!(of_this_server("RDB snapshots"), 1);

    // It boots again after a denial, and finds one more cause.
    set(&["ACL", "SETUSER", "default", "-evalsha"]);
    let params = Params::new().with("run_id", RUN);
    support::until("it is booted again", || {
        let _ = cache.invalidate(["build_climate"], &params);
        cache
            .report()
            .is_some_and(|report| report.engine == "watch")
    });
    assert_eq!(of_this_server("EVALSHA may not be called"), 1);
    assert_eq!(of_this_server("maxmemory-policy volatile-lru"), 1);
    assert_eq!(of_this_server("RDB snapshots"), 1);
}
