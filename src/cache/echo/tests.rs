use super::*;
use crate::{
    model::Stamp,
    op::{Commit, Invalidate, Own, Release},
};
use std::{sync::mpsc::channel, thread, time::Duration};

fn run(name: &str) -> RunId {
    RunId::told(name)
}

fn entry(key: &str) -> Entry {
    Entry {
        value: key.into(),
        leases: "l".into(),
    }
}

fn invalidate(keys: &[&str]) -> Op {
    Op::Invalidate(Invalidate {
        entries: keys.iter().map(|key| entry(key)).collect(),
        raises: Vec::new(),
        token: String::new(),
        release: None,
    })
}

fn many(keys: usize) -> Op {
    let keys: Vec<String> = (0..keys).map(|n| format!("v{n}")).collect();
    invalidate(&keys.iter().map(String::as_str).collect::<Vec<_>>())
}

fn lock(key: &str) -> Lock {
    Lock {
        key: key.to_owned(),
        value: "mine".to_owned(),
    }
}

fn commit(own: &str, dependents: &[&str]) -> Op {
    Op::Commit(Commit {
        id: String::new(),
        locks: vec![lock("lock")],
        own: vec![Own {
            entry: entry(own),
            bytes: Vec::new().into(),
            stamp: Stamp {
                mtime_ns: 0,
                size: 0,
                inode: 0,
            },
            ttl_ms: 1,
            over: None,
        }],
        dependents: dependents.iter().map(|key| entry(key)).collect(),
        release: true,
        token: String::new(),
        wait: None,
    })
}

impl Echo {
    fn took(&self, by: &str, op: Op) -> Keep {
        self.keep(op, run(by), Instant::now())
    }

    /// The keys that a server with all slots is told to delete. It acknowledges all of them.
    fn told(&self, by: &str) -> Vec<Substr> {
        let round = self.begin();
        let due = round.due(Servers::one(run(by)));
        assert!(due.iter().all(|due| due.run == run(by)), "{due:?}");
        let entries = due.into_iter().flat_map(|due| due.entries);
        let mut keys: Vec<Substr> = entries.map(|entry| entry.value).collect();
        keys.sort_unstable();
        round.told(&run(by));
        keys
    }

    fn sizes(&self) -> Vec<usize> {
        self.lock().steps.iter().map(Step::keys).collect()
    }
}

#[test]
fn what_is_old_or_too_much_goes_first_come_first() {
    let (echo, start) = (Echo::default(), Instant::now());
    let keep = |keys, at| echo.keep(many(keys), run("a"), at);
    assert_eq!(keep(0, start), Keep::Nothing);
    assert!(!echo.is_wanted(start));
    assert_eq!(keep(1, start), Keep::Kept);
    keep(2, start + limits::ECHO_AGE);
    assert_eq!(echo.sizes(), [1, 2]);
    let later = start + limits::ECHO_AGE + Duration::from_millis(1);
    keep(3, later);
    assert_eq!(echo.sizes(), [2, 3]);
    assert!(echo.is_wanted(later + limits::ECHO_AGE));
    assert!(!echo.is_wanted(later + limits::ECHO_AGE + Duration::from_millis(1)));
    keep(limits::ECHO_KEYS - 3, later);
    assert_eq!(echo.sizes(), [3, limits::ECHO_KEYS - 3]);
    keep(limits::ECHO_KEYS + 1, later);
    assert_eq!(echo.sizes(), [0_usize; 0]);
}

#[test]
fn a_server_is_told_once_what_another_one_took_and_never_what_it_took_itself() {
    let echo = Echo::default();
    echo.took("a", commit("own", &["x", "y"]));
    echo.took("a", invalidate(&["z"]));
    assert_eq!(echo.told("a"), [""; 0]);
    // Only the last change of an entry counts.
    assert_eq!(echo.took("b", commit("y", &["z"])), Keep::Doubted);
    assert_eq!(echo.told("b"), ["own", "x"]);
    assert_eq!(echo.told("b"), [""; 0]);
    // A server that becomes the primary again got none of the last changes.
    assert_eq!(echo.told("a"), ["own", "x", "y", "z"]);
}

#[test]
fn a_released_lock_is_released_again() {
    let echo = Echo::default();
    echo.took("a", commit("own", &[]));
    let released = Op::Release(Release { lock: lock("left") });
    echo.took("a", released);
    let due = echo.begin().due(Servers::one(run("b")));
    assert_eq!(due[0].locks, [lock("left"), lock("lock")]);
}

/// A reply was under way when the server ended, and is noticed after the echo.
#[test]
fn a_change_that_is_kept_after_the_round_is_for_the_next_one() {
    let echo = Echo::default();
    echo.took("a", invalidate(&["x"]));
    assert_eq!(echo.told("b"), ["x"]);
    assert!(!echo.is_doubted());
    assert_eq!(echo.took("a", invalidate(&["late"])), Keep::Doubted);
    assert_eq!(echo.told("b"), ["late"]);

    // Within the round, before and after the servers are known.
    let round = echo.begin();
    assert_eq!(echo.took("a", invalidate(&["before"])), Keep::Doubted);
    let due = round.due(Servers::one(run("c")));
    assert_eq!(due.len(), 1);
    assert!(echo.is_doubted());
    assert_eq!(echo.took("b", invalidate(&["after"])), Keep::Doubted);
    round.told(&run("c"));
    drop(round);
    assert_eq!(echo.told("c"), ["after", "before"]);
}

/// "v" is in slot 7761, "w" in 3696.
#[test]
fn in_a_cluster_each_server_is_told_of_its_slots_and_a_slot_that_moved_is_no_loss() {
    let echo = Echo::default();
    let servers = |low: &str, high: &str| {
        Servers::new(
            vec![(0..=4_999, run(low)), (5_000..=16_383, run(high))],
            true,
        )
    };
    assert_eq!(echo.took("high", invalidate(&["v"])), Keep::Kept);
    // No server is known yet.
    assert_eq!(echo.took("low", invalidate(&["w"])), Keep::Doubted);
    assert_eq!(echo.begin().due(servers("low", "high")), []);
    assert_eq!(echo.took("high", invalidate(&["v"])), Keep::Kept);
    assert_eq!(echo.took("low", invalidate(&["w"])), Keep::Kept);

    let keys = |servers| -> Vec<(RunId, Vec<Substr>)> {
        let round = echo.begin();
        let due = round.due(servers);
        due.iter().for_each(|due| round.told(&due.run));
        due.into_iter()
            .map(|due| {
                let keys = due.entries.into_iter().map(|entry| entry.value);
                (due.run, keys.collect())
            })
            .collect()
    };
    assert_eq!(
        keys(servers("low", "new")),
        [(run("new"), vec!["v".into()])]
    );
    // All slots move to the other server, which is then restarted; the first one ends.
    let moved = Servers::new(vec![(0..=16_383, run("new")), (0..=0, run("low"))], true);
    assert_eq!(keys(moved), []);
    let again = Servers::new(vec![(0..=16_383, run("newer"))], true);
    let [(to, all)] = &keys(again)[..] else {
        panic!("one server")
    };
    assert_eq!((to, all.len()), (&run("newer"), 2));
    // A server that does not answer is told later.
    assert_eq!(keys(Servers::new(vec![(0..=0, run("x"))], false)), []);
    assert_eq!(keys(servers("x", "newest")).len(), 2);
}

#[test]
fn what_a_commit_sets_meanwhile_is_spared_and_a_commit_waits_for_a_request_with_its_key() {
    let echo = Echo::default();
    echo.took("a", invalidate(&["x", "y", "z"]));
    let before = commit("x", &[]);
    let before = echo.on_its_way(&before);
    let round = echo.begin();
    drop(before);
    let meanwhile = commit("y", &[]);
    drop(echo.on_its_way(&meanwhile));
    let [due] = &round.due(Servers::one(run("b")))[..] else {
        panic!("one server")
    };
    assert_eq!(due.entries.len(), 3);
    thread::scope(|scope| {
        let (echo, (say, said)) = (&echo, channel());
        let sent = round.send(due.entries.clone(), |entries| {
            assert_eq!(entries, [entry("z")]);
            scope.spawn(move || {
                drop(echo.on_its_way(&commit("other", &[])));
                say.send("other").unwrap();
                drop(echo.on_its_way(&commit("z", &[])));
                say.send("z").unwrap();
            });
            let patience = Duration::from_secs(30);
            assert_eq!(said.recv_timeout(patience), Ok("other"));
            assert!(said.try_recv().is_err(), "it waits");
            Ok::<(), ()>(())
        });
        assert_eq!((sent, said.recv()), (Ok(()), Ok("z")));
    });
    drop(round);
    assert!(echo.lock().committing.is_empty());
}
