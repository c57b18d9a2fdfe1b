//! Saves that continue while a primary is replaced, and what must be true of them afterwards.
//!
//! Replication is asynchronous: an acknowledged commit may be lost with its primary. So the test
//! asserts what the library promises whatever a server forgets: the file has every acknowledged
//! save and no other; nobody reads an own entry older than that; locks end with their TTL; and if
//! all replicas are known to have a commit, its dependents are gone.

use super::{Climate, nodes::Nodes};
use cachetx::{CacheOutcome, Document, Outcome, Save, Store};
use std::{
    collections::BTreeMap,
    sync::{
        Mutex,
        atomic::{AtomicBool, AtomicU64, Ordering::SeqCst},
    },
    thread,
    time::Duration,
};

pub const LOCK_TTL: Duration = Duration::from_secs(2);
/// The number of saves of each writer before the failover, and again after it.
const EACH: u64 = 25;
/// Runs that are saved once each, with a wait for replicas, before and while the primary is
/// replaced.
const SERIES: usize = 60;
const DEPENDENTS: [&str; 3] = ["wepp", "ash", "soils"];

pub fn key(run: &str, controller: &str) -> String {
    format!("nodb_cache:{{{run}}}:{controller}")
}

fn add_one(document: &Document<Climate>, save: Save) -> cachetx::Result<Outcome> {
    let saved = document.locked_with(save, |climate| {
        climate.years += 1;
        Ok(())
    });
    saved.map(|((), outcome)| outcome)
}

/// One document that is saved and read all the time.
struct Hot {
    document: Document<Climate>,
    acknowledged: AtomicU64,
    /// What happened to the entries, with counts, for display.
    outcomes: Mutex<BTreeMap<&'static str, u64>>,
}

impl Hot {
    fn note(&self, what: &'static str) {
        *self
            .outcomes
            .lock()
            .expect("no panic")
            .entry(what)
            .or_default() += 1;
    }

    fn write(&self, done: &AtomicBool) {
        while !done.load(SeqCst) {
            match add_one(&self.document, Save::new().tasks(["build_climate"])) {
                Ok(outcome) => {
                    self.acknowledged.fetch_add(1, SeqCst);
                    self.note(match outcome.cache {
                        CacheOutcome::Committed { .. } => "committed",
                        CacheOutcome::Invalidated { .. } => "invalidated",
                        _ => "deferred",
                    });
                }
                // Nothing was written: the lock could not be acquired, or was lost with its server
                // before the rename.
                Err(e) => {
                    let expected = e.is_unavailable()
                        || e.is_lock_held()
                        || e.is_lock_lost()
                        || e.is_conflict()
                        || e.is_fenced();
                    assert!(expected, "{e:?}");
                    self.note("refused");
                    thread::sleep(Duration::from_millis(5));
                }
            }
        }
    }

    fn read(&self, done: &AtomicBool) {
        let mut last = 0;
        while !done.load(SeqCst) {
            let before = self.acknowledged.load(SeqCst);
            let years = self.document.read().expect("the file is there").years;
            assert!(
                years >= before.max(last),
                "read {years} after {before} acknowledged, {last} read"
            );
            last = years;
            thread::sleep(Duration::from_millis(1));
        }
    }
}

/// Runs saves while `replace` replaces the primary that has the `hot` runs and those of the series,
/// and checks them.
pub fn replaced_under_load(
    store: &Store,
    nodes: &mut Nodes,
    hot: &[String],
    series: impl Fn(usize) -> String,
    // The number of replicas of each primary; the one that takes over is among them.
    replicas: u32,
    replace: impl FnOnce(),
) {
    let hot: Vec<Hot> = hot
        .iter()
        .map(|run| {
            let document: Document<Climate> = store.document(run, "climate").expect("a document");
            document.create(&Climate::of(0)).expect("created");
            Hot {
                document,
                acknowledged: AtomicU64::new(0),
                outcomes: Mutex::default(),
            }
        })
        .collect();
    let series: Vec<String> = (0..SERIES).map(series).collect();
    for run in &series {
        let document: Document<Climate> = store.document(run, "climate").expect("a document");
        document.create(&Climate::of(0)).expect("created");
        for controller in DEPENDENTS {
            nodes.run::<()>(&["SET", &key(run, controller), "derived"]);
        }
    }
    let reached = |goal: u64| {
        super::until("every writer gets on", || {
            hot.iter().all(|hot| hot.acknowledged.load(SeqCst) >= goal)
        });
    };

    let done = AtomicBool::new(false);
    let replicated = thread::scope(|scope| {
        let ending = super::SetOnDrop(&done);
        for hot in &hot {
            scope.spawn(|| hot.write(&done));
            scope.spawn(|| hot.write(&done));
            scope.spawn(|| hot.read(&done));
        }
        let saves = scope.spawn(|| {
            let mut replicated = Vec::new();
            for run in &series {
                let document = store.document(run, "climate").expect("a document");
                let save = Save::new().tasks(["build_climate"]);
                let save = save.wait_replicas(replicas, Duration::from_millis(200));
                if let Ok(outcome) = add_one(&document, save)
                    && outcome.replicas >= Some(replicas.into())
                {
                    // The echo to a new primary may have deleted some already.
                    assert!(
                        matches!(outcome.cache, CacheOutcome::Committed { .. }),
                        "{outcome:?}"
                    );
                    replicated.push(run);
                }
                thread::sleep(Duration::from_millis(20));
            }
            replicated
        });
        reached(EACH);
        replace();
        let so_far = hot.iter().map(|hot| hot.acknowledged.load(SeqCst)).max();
        reached(so_far.unwrap_or_default() + EACH);
        let replicated = saves.join().expect("no panic");
        drop(ending);
        replicated
    });

    // A replay deletes own entries too, even newer ones.
    super::until("the outbox is empty", || {
        store.cache().stats().outbox_pending == 0
    });
    for hot in &hot {
        let outcomes = hot.outcomes.lock().expect("no panic");
        let saved = hot.acknowledged.load(SeqCst);
        eprintln!("{:?}: {saved} saved, {outcomes:?}", hot.document);
        assert_eq!(
            hot.document.read().expect("read").years,
            saved,
            "every acknowledged save, and no other"
        );
        // The entry itself is checked too, once everything has settled: on a busy machine two
        // servers may act as the primary for a while, and a save goes to one, the check to the
        // other.
        let mut years = saved;
        super::until("a save's entry is the file's", || {
            let saved = add_one(&hot.document, Save::new());
            years += u64::from(saved.is_ok());
            let committed =
                saved.is_ok_and(|outcome| matches!(outcome.cache, CacheOutcome::Committed { .. }));
            let own: Option<Vec<u8>> = nodes.run(&["GET", hot.document.cache_key()]);
            committed && own == Some(Climate::of(years).bytes())
        });
    }
    assert!(!replicated.is_empty(), "no save reached all replicas");
    eprintln!("{} of {SERIES} reached all replicas", replicated.len());
    for run in replicated {
        for controller in DEPENDENTS {
            let left: Option<String> = nodes.run(&["GET", &key(run, controller)]);
            assert_eq!(
                left, None,
                "{controller} of {run}, which a replica had as deleted"
            );
        }
    }
    for run in &series {
        let lock = key(run, "climate:lock");
        let left: i64 = nodes.run(&["PTTL", &lock]);
        assert!(
            left == -2 || (0..=LOCK_TTL.as_millis() as i64).contains(&left),
            "{lock}: {left}"
        );
        let document: Document<Climate> = store.document(run, "climate").expect("a document");
        drop(
            document
                .lock_timeout(5 * LOCK_TTL)
                .expect("nobody holds it past its TTL"),
        );
    }
}

/// Whether the long runs are requested: failovers take seconds, so `make test` runs them on two
/// servers only.
pub fn soak() -> bool {
    super::given("CACHETX_SOAK").is_some()
}
