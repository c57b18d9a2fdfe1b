use super::*;
use crate::model::{Error, Stamp, error::Kind};
use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{
        Barrier, Mutex,
        atomic::{AtomicU64, Ordering},
        mpsc,
    },
    thread,
};

const MIB: u64 = 1 << 20;

fn place(file: &str) -> Place {
    Place {
        folder: "run".into(),
        file: file.into(),
    }
}

fn identity(changed_ns: i64) -> Identity {
    let stamp = Stamp {
        mtime_ns: 1,
        size: 1,
        inode: 1,
    };
    Identity::local(stamp, changed_ns)
}

/// A file whose content is its change time, with a count of its loads.
struct File {
    changed_ns: Mutex<i64>,
    loads: AtomicU64,
}

impl File {
    fn new() -> Self {
        Self {
            changed_ns: Mutex::new(1),
            loads: AtomicU64::new(0),
        }
    }

    fn now(&self) -> Option<Identity> {
        Some(identity(*self.changed_ns.lock().expect("not poisoned")))
    }

    fn save(&self, changed_ns: i64) {
        *self.changed_ns.lock().expect("not poisoned") = changed_ns;
    }

    /// Whether its tick is over.
    fn load(&self, over: bool, bytes: u64) -> Loaded<i64> {
        self.loads.fetch_add(1, Ordering::Relaxed);
        let identity = self.now().expect("there");
        let content = identity.changed_ns;
        Loaded {
            value: Arc::new(content),
            bytes,
            version: Version::seen(&identity, over),
            digest: content.unsigned_abs(),
        }
    }

    fn loads(&self) -> u64 {
        self.loads.load(Ordering::Relaxed)
    }

    fn read(&self, snapshots: &Snapshots, file: &str, bytes: u64) -> Got<i64> {
        let load = |_: Option<Kept<i64>>| Ok(self.load(true, bytes));
        let got = snapshots.read(&place(file), || self.now(), load);
        got.expect("loaded")
    }
}

#[test]
fn the_same_while_the_stamp_is_and_never_an_older_one() {
    let (snapshots, file) = (Snapshots::new(16, MIB), File::new());
    let first = file.read(&snapshots, "a", 1);
    let again = file.read(&snapshots, "a", 1);
    assert!(!first.kept && again.kept);
    assert!(Arc::ptr_eq(&first.value, &again.value));

    file.save(2);
    let newer = file.read(&snapshots, "a", 1);
    assert_eq!((newer.kept, *newer.value), (false, 2));
    assert!(file.read(&snapshots, "a", 1).kept);
    assert_eq!(file.loads(), 2);

    // The file is gone: the load fails, and nothing is left to be returned if the same stamp
    // appears again.
    let gone = snapshots.read::<i64>(
        &place("a"),
        || None,
        |_| {
            Err(Error::new(Kind::NotFound {
                document: "a".to_owned(),
            }))
        },
    );
    assert!(gone.expect_err("gone").is_not_found());
    assert!(!file.read(&snapshots, "a", 1).kept);
}

#[test]
fn another_type_is_another_snapshot() {
    let (snapshots, file) = (Snapshots::new(16, MIB), File::new());
    file.read(&snapshots, "a", 1);
    let text = |_: Option<Kept<String>>| {
        Ok(Loaded {
            value: Arc::new("text".to_owned()),
            bytes: 1,
            version: file.load(true, 1).version,
            digest: 1,
        })
    };
    let read = || snapshots.read::<String>(&place("a"), || file.now(), text);
    assert!(!read().expect("loaded").kept);
    assert!(read().expect("there").kept);
    assert!(file.read(&snapshots, "a", 1).kept);
}

#[test]
fn what_may_have_changed_within_a_tick_is_loaded_and_handed_to_the_load() {
    let (snapshots, file) = (Snapshots::new(16, MIB), File::new());
    let mut handed = Vec::new();
    for over in [false, false, true] {
        let load = |kept: Option<Kept<i64>>| {
            handed.push(kept.map(|kept| kept.digest));
            Ok(file.load(over, 1))
        };
        let got = snapshots.read(&place("a"), || file.now(), load);
        assert!(!got.expect("loaded").kept);
    }
    let digest = file.load(true, 1).digest;
    assert_eq!(handed, [None, Some(digest), Some(digest)]);
    assert!(file.read(&snapshots, "a", 1).kept);
}

#[test]
fn neither_bound_is_passed_and_something_is_kept() {
    for (entries, bytes, size) in [
        (1, MIB, 10),
        (2, MIB, 10),
        (3, 100, 2),
        (100, MIB, 10),
        (1_000, MIB, 10),
        (1_000, 1_000, 99),
    ] {
        let (snapshots, file) = (Snapshots::new(entries, bytes), File::new());
        for n in 0..2_000 {
            file.read(&snapshots, &format!("{n}"), size);
        }
        let kept = snapshots.0.as_ref().expect("on").len() as u64;
        assert!(
            kept <= entries as u64,
            "{kept} kept, at most {entries} entries"
        );
        assert!(
            kept * size <= bytes,
            "{kept} of {size} bytes kept, at most {bytes} bytes"
        );
        let possible = (entries as u64).min(bytes / size);
        assert!(
            kept * 2 >= possible,
            "{kept} kept where {possible} would fit"
        );
    }
    for (entries, bytes) in [(0, MIB), (16, 0)] {
        let (snapshots, file) = (Snapshots::new(entries, bytes), File::new());
        for _ in 0..2 {
            assert!(!file.read(&snapshots, "a", 1).kept, "zero keeps none");
        }
    }
}

#[test]
fn readers_share_a_load_that_is_still_current() {
    const READERS: usize = 8;
    let (snapshots, file) = (Snapshots::new(16, MIB), File::new());
    let start = Barrier::new(READERS);
    let values: Vec<Arc<i64>> = thread::scope(|scope| {
        let readers: Vec<_> = (0..READERS)
            .map(|_| {
                scope.spawn(|| {
                    start.wait();
                    file.read(&snapshots, "a", 1).value
                })
            })
            .collect();
        let values = readers.into_iter().map(|it| it.join().expect("no panic"));
        values.collect()
    });
    assert_eq!(file.loads(), 1);
    assert!(values.iter().all(|it| Arc::ptr_eq(it, &values[0])));
}

/// A reader loads. Before it is done, the file is saved and a second reader arrives.
fn late_reader(over: bool) -> (i64, u64) {
    let (snapshots, file) = (Snapshots::new(16, MIB), File::new());
    let (loading, is_loading) = mpsc::channel();
    let (go_on, may_go_on) = mpsc::channel::<()>();
    let late = thread::scope(|scope| {
        let (snapshots, file) = (&snapshots, &file);
        scope.spawn(move || {
            let load = |_: Option<Kept<i64>>| {
                let loaded = file.load(over, 1);
                loading.send(()).expect("awaited");
                may_go_on.recv().expect("sent");
                Ok(loaded)
            };
            snapshots
                .read(&place("a"), || file.now(), load)
                .expect("loaded");
        });
        is_loading.recv().expect("sent");
        file.save(2);
        let late = scope.spawn(move || *file.read(snapshots, "a", 1).value);
        go_on.send(()).expect("awaited");
        late.join().expect("no panic")
    });
    (late, file.loads())
}

#[test]
fn a_load_that_began_before_a_save_is_not_for_a_reader_that_came_after() {
    assert_eq!(late_reader(true), (2, 2));
    assert_eq!(late_reader(false), (2, 2));
}

#[test]
fn a_load_that_fails_or_panics_leaves_the_way_free() {
    let (snapshots, file) = (Snapshots::new(16, MIB), File::new());
    let now = || file.now();
    let panicked = catch_unwind(AssertUnwindSafe(|| {
        snapshots.read::<i64>(&place("a"), now, |_| panic!("on purpose"))
    }));
    assert!(panicked.is_err());
    let refuse = |_: Option<Kept<i64>>| {
        Err(Error::new(Kind::NotFound {
            document: "a".to_owned(),
        }))
    };
    let failed = snapshots.read::<i64>(&place("a"), now, refuse);
    assert!(failed.is_err());
    assert!(!file.read(&snapshots, "a", 1).kept);
    assert!(file.read(&snapshots, "a", 1).kept);
}
