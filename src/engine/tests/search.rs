//! Looking for the server that takes an operation.

use super::*;

/// Behind the same name there may be another server by now.
#[test]
fn a_connection_to_a_server_that_became_a_replica_is_not_used_again() {
    on_every_server(|bed| {
        bed.cmd::<()>(&["REPLICAOF", "127.0.0.1", "1"]);
        let refused = bed.try_run(acquire("l", "me", 0)).unwrap_err();
        let refused = refused.into_error();
        assert!(refused.to_string().contains("READONLY"), "{refused}");
        bed.cmd::<()>(&["REPLICAOF", "NO", "ONE"]);
        let before = bed.engine.counters().reconnects();
        bed.hold();
        assert_eq!(bed.engine.counters().reconnects(), before + 1);
    });
}
