//! What is on the server when a script is cut, and which operation runs it.

use super::super::{histories::Side, *};
use crate::op::{Op, Release, Renew, voucher::voucher};

pub(super) struct Scene {
    pub(super) name: &'static str,
    lock: Option<&'static str>,
    /// The commit id in the own entry's stamp.
    saved_by: &'static str,
    /// How much later the stamp's file is than the own entry's.
    later_ns: i64,
    in_flight: bool,
    pub(super) op: Op,
}

const LIFE_MS: Option<u64> = Some(10_000_000);

impl Scene {
    /// Sets entries with their stamps, the fence, and what the scene adds.
    pub(super) fn prepare(&self, side: &mut impl Side) {
        for key in ["own", "{t}own", "a", "b", "{t}c", "other"] {
            side.set(key, "old", LIFE_MS);
            let mut old = own(key, b"old");
            old.stamp.mtime_ns += self.later_ns;
            let stamp = voucher(&old.stamp, self.saved_by, b"old");
            side.set(&sibling(key, "stamp"), &stamp, LIFE_MS);
        }
        side.set("{l}:fence", "7", LIFE_MS);
        side.set("m", "me", LIFE_MS);
        if let Some(holder) = self.lock {
            side.set("l", holder, LIFE_MS);
        }
        if self.in_flight {
            let here = [
                ("own", "l:t:9"),
                ("a", "l:t:9"),
                ("b", "w:t:9"),
                ("other", "l:t:9"),
                ("absent", "l:t:9"),
                ("odd", "l:u:99999999999999999999"),
                ("odd mark", "w:u:99999999999999999999"),
            ];
            for (field, flight) in here {
                side.set_field("cachetx:leases:run", field, flight);
            }
            let ends = side.now_ms() + 10_000_000;
            for (field, owner) in [("busy", "l:u"), ("marked", "w:u")] {
                side.set_field("cachetx:leases:run", field, &format!("{owner}:{ends}"));
            }
            side.set_field("{t}:cachetx:leases", "{t}c", "l:t:9");
        }
    }
}

/// Two documents under two locks.
fn group() -> Commit {
    Commit {
        locks: vec![lock("l", "me"), lock("m", "me")],
        own: vec![own("own", b"new"), own("{t}own", b"newer")],
        ..commit(b"", &["a", "b", "{t}c", "absent"])
    }
}

fn scene(name: &'static str, op: impl Ask) -> Scene {
    Scene {
        name,
        lock: Some("me"),
        saved_by: "c0",
        later_ns: 0,
        in_flight: true,
        op: op.into_op(),
    }
}

pub(super) fn all() -> Vec<Scene> {
    let renew = Renew {
        lock: lock("l", "me"),
        fence_key: "{l}:fence".to_owned(),
        ttl_ms: 60_000,
    };
    let release = Release {
        lock: lock("l", "me"),
    };
    let drop_and_release = Invalidate {
        release: Some(lock("l", "me")),
        ..invalidate(&["own", "a", "b", "{t}c"])
    };
    let refused = Lease {
        refused: Some(voucher(&own("", b"old").stamp, "c0", b"old").into()),
        ..lease("other")
    };
    let taken = Lease {
        wanted: Some(own("", b"newer").stamp),
        ..lease("busy")
    };
    let keep = Commit {
        release: false,
        ..group()
    };
    let mark = prepare(&[
        "own", "a", "b", "{t}c", "busy", "marked", "odd mark", "absent",
    ]);
    let marked = Commit {
        token: "t".to_owned(),
        ..group()
    };
    let one = commit(b"new", &["a", "b", "{t}c"]);
    let one_of_two = Commit {
        locks: vec![lock("l", "me"), lock("none", "me")],
        ..commit(b"new", &[])
    };
    let raised = Invalidate {
        raises: vec![raise("own"), raise("{t}c")],
        token: "t".to_owned(),
        ..drop_and_release.clone()
    };
    vec![
        scene("one document", one.clone()),
        Scene {
            in_flight: false,
            ..scene("nothing in flight", one.clone())
        },
        Scene {
            later_ns: -1,
            ..scene("one group", commit(b"new", &["a", "b"]))
        },
        Scene {
            in_flight: false,
            later_ns: -1,
            ..scene("one group, nothing in flight", commit(b"new", &["a", "b"]))
        },
        Scene {
            in_flight: false,
            saved_by: "c1",
            later_ns: -1,
            ..scene("replay with an earlier stamp", commit(b"new", &["a", "b"]))
        },
        Scene {
            in_flight: false,
            later_ns: -1,
            ..scene("one of two locks lost", one_of_two)
        },
        scene("two documents", group()),
        scene("locks kept", keep),
        Scene {
            lock: Some("you"),
            ..scene("lock lost", group())
        },
        Scene {
            lock: None,
            ..scene("lock gone", one)
        },
        Scene {
            saved_by: "c1",
            ..scene("replay", group())
        },
        Scene {
            later_ns: 1,
            ..scene("superseded", group())
        },
        scene("prepare", mark.clone()),
        Scene {
            in_flight: false,
            ..scene("prepare what nobody loads", mark.clone())
        },
        Scene {
            lock: Some("you"),
            ..scene("prepare without the lock", mark)
        },
        scene("own marks", marked),
        scene("invalidate", drop_and_release),
        scene("invalidate and raise", raised.clone()),
        Scene {
            later_ns: 5,
            ..scene("invalidate what is later", raised)
        },
        Scene {
            lock: None,
            ..scene("acquire a free lock", acquire("l", "me", 3))
        },
        Scene {
            lock: None,
            ..scene("acquire above a floor", acquire("l", "me", 99))
        },
        Scene {
            lock: Some("you"),
            ..scene("acquire a held lock", acquire("l", "me", 99))
        },
        scene("take a lease", lease("new")),
        Scene {
            in_flight: false,
            ..scene("take the first lease", lease("new"))
        },
        scene("a busy entry", taken),
        scene("a lease with no time that can be", lease("odd")),
        scene("an entry that is there", lease("b")),
        scene("an entry that the reader refused", refused),
        scene("extend a lease", extend("a")),
        scene("give a lease back", give_back("a")),
        scene("fill", fill("a", b"new")),
        scene("fill what is not there", fill("absent", b"new")),
        scene("renew", renew),
        scene("release", release),
    ]
}
