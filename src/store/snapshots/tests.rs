use super::*;
use crate::{Error, error::Kind};
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

fn stamp(mtime_ns: i64) -> Stamp {
    Stamp {
        mtime_ns,
        size: 1,
        inode: 1,
    }
}

/// A file that is its stamp, and how often it was loaded.
struct File {
    stamp: Mutex<Stamp>,
    loads: AtomicU64,
}

impl File {
    fn new() -> Self {
        Self {
            stamp: Mutex::new(stamp(1)),
            loads: AtomicU64::new(0),
        }
    }

    fn stamp(&self) -> Stamp {
        *self.stamp.lock().expect("not poisoned")
    }

    fn save(&self, mtime_ns: i64) {
        *self.stamp.lock().expect("not poisoned") = stamp(mtime_ns);
    }

    fn load(&self, settled: bool, bytes: u64) -> Loaded<i64> {
        self.loads.fetch_add(1, Ordering::Relaxed);
        let stamp = self.stamp();
        Loaded {
            value: Arc::new(stamp.mtime_ns),
            bytes,
            stamp: settled.then_some(stamp),
        }
    }

    fn loads(&self) -> u64 {
        self.loads.load(Ordering::Relaxed)
    }

    fn read(&self, snapshots: &Snapshots, file: &str, bytes: u64) -> Got<i64> {
        let load = || Ok(self.load(true, bytes));
        let got = snapshots.read(&place(file), || Some(self.stamp()), load);
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

    // Gone: the load says so, and nothing is left to be returned should the same stamp show up.
    let gone = snapshots.read::<i64>(
        &place("a"),
        || None,
        || {
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
    let text = || {
        Ok(Loaded {
            value: Arc::new("text".to_owned()),
            bytes: 1,
            stamp: Some(file.stamp()),
        })
    };
    let read = || snapshots.read::<String>(&place("a"), || Some(file.stamp()), text);
    assert!(!read().expect("loaded").kept);
    assert!(read().expect("there").kept);
    assert!(file.read(&snapshots, "a", 1).kept);
}

#[test]
fn what_is_not_settled_is_returned_and_not_kept() {
    let (snapshots, file) = (Snapshots::new(16, MIB), File::new());
    for _ in 0..3 {
        let load = || Ok(file.load(false, 1));
        let got = snapshots.read(&place("a"), || Some(file.stamp()), load);
        assert!(!got.expect("loaded").kept);
    }
    assert_eq!(file.loads(), 3);
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

/// One reader loads; before it is done the file is saved, and a second reader comes.
fn late_reader(settled: bool) -> (i64, u64) {
    let (snapshots, file) = (Snapshots::new(16, MIB), File::new());
    let (loading, is_loading) = mpsc::channel();
    let (go_on, may_go_on) = mpsc::channel::<()>();
    let late = thread::scope(|scope| {
        let (snapshots, file) = (&snapshots, &file);
        scope.spawn(move || {
            let load = || {
                let loaded = file.load(settled, 1);
                loading.send(()).expect("awaited");
                may_go_on.recv().expect("sent");
                Ok(loaded)
            };
            snapshots
                .read(&place("a"), || Some(file.stamp()), load)
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
    let stamp_now = || Some(file.stamp());
    let panicked = catch_unwind(AssertUnwindSafe(|| {
        snapshots.read::<i64>(&place("a"), stamp_now, || panic!("on purpose"))
    }));
    assert!(panicked.is_err());
    let refuse = || {
        Err(Error::new(Kind::NotFound {
            document: "a".to_owned(),
        }))
    };
    let failed = snapshots.read::<i64>(&place("a"), stamp_now, refuse);
    assert!(failed.is_err());
    assert!(!file.read(&snapshots, "a", 1).kept);
    assert!(file.read(&snapshots, "a", 1).kept);
}
