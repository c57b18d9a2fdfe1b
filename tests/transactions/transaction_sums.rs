//! Threads and processes move amounts between documents, three at a time, named in any order, while
//! some are killed. Nobody waits for ever, and the sum stays the same, also for a caller that locks
//! all of them in between.
//!
//! With `CACHETX_SOAK` there are 16 threads for 30 s, in one process and in four that are killed.

use crate::support::trio::{self, Count, document, left_over};
use crate::support::{World, child, given};
use cachetx::{Document, NO_TASKS, Store, Transaction};
use std::{
    io::Write,
    os::unix::process::ExitStatusExt,
    process::Child,
    thread,
    time::{Duration, Instant},
};

const DOCUMENTS: usize = 8;
const EACH: u64 = 100;
const SUM: u64 = EACH * DOCUMENTS as u64;

/// A small random generator. The test gives the seed, so a run can be repeated.
struct Dice(u64);

impl Dice {
    fn below(&mut self, end: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 33) as usize % end
    }

    /// Three different numbers, in any order.
    fn three(&mut self) -> [usize; 3] {
        let mut all: Vec<usize> = (0..DOCUMENTS).collect();
        std::array::from_fn(|_| all.swap_remove(self.below(all.len())))
    }
}

fn all(store: &Store) -> Vec<Document<Count>> {
    (0..DOCUMENTS)
        .map(|n| document(store, &format!("run-{n}"), "ash"))
        .collect()
}

fn create_all(store: &Store) {
    for document in all(store) {
        document.create(&Count { n: EACH }).expect("created");
    }
}

fn transfer(documents: &[Document<Count>], store: &Store, dice: &mut Dice) -> cachetx::Result<()> {
    let [a, b, c] = dice.three().map(|n| &documents[n]);
    let mut locked = store.transaction_timeout((a, b, c), Duration::from_secs(60))?;
    let (a, b, c) = &mut *locked;
    let moved = a.n.min(dice.below(10) as u64);
    let half = moved / 2;
    a.n -= moved;
    b.n += half;
    c.n += moved - half;
    locked.commit(NO_TASKS)?;
    Ok(())
}

/// A caller that has locked all of them never sees a transfer half done.
fn sum(documents: &[Document<Count>], store: &Store) -> u64 {
    let [a, b, c, d, e, f, g, h] = documents else {
        unreachable!("eight")
    };
    // A worker that was slow and lost its locks may still be renaming, or the server may be slow to
    // answer.
    let locked = (0..10).find_map(|_| {
        let all = (a, b, c, d, e, f, g, h);
        match store.transaction_timeout(all, Duration::from_secs(60)) {
            Ok(locked) => Some(locked),
            Err(e) if e.is_retryable() => None,
            Err(e) => panic!("neither locked nor busy: {e:?}"),
        }
    });
    let locked = locked.expect("in ten tries");
    assert!(!Transaction::is_lost(&locked), "a minute was not enough");
    let (a, b, c, d, e, f, g, h) = Transaction::unlock(locked);
    [a, b, c, d, e, f, g, h].iter().map(|count| count.n).sum()
}

fn soak() -> bool {
    given("CACHETX_SOAK").is_some()
}

#[test]
fn threads_that_name_them_in_any_order_keep_the_sum_and_never_wait_for_ever() {
    let (threads, least) = if soak() {
        (16, Duration::from_secs(30))
    } else {
        (6, Duration::ZERO)
    };
    let world = World::start();
    let store = trio::store_builder(&world).lock_wait(Duration::from_secs(60));
    let store = store.open().expect("a store");
    create_all(&store);
    let begun = Instant::now();
    thread::scope(|scope| {
        for seed in 1..=threads {
            let store = &store;
            scope.spawn(move || {
                let (documents, mut dice) = (all(store), Dice(seed));
                for n in 0.. {
                    if n >= 20 && begun.elapsed() >= least {
                        return;
                    }
                    transfer(&documents, store, &mut dice).expect("nobody takes a lock away");
                    if n % 10 == 9 {
                        assert_eq!(sum(&documents, store), SUM, "seed {seed}, after {n}");
                    }
                }
            });
        }
    });
    assert_eq!(sum(&all(&store), &store), SUM);
}

/// A worker's store.
fn open(url: String, root: &str) -> Store {
    let cache = crate::support::cache_of(trio::rules())
        .url(url)
        .open()
        .expect("a cache");
    // Short: a killed worker leaves its locks to expire. A slow one loses one, and tries again.
    Store::builder(cache)
        .root(root)
        .lock_ttl(Duration::from_millis(500))
        .open()
        .expect("a store")
}

/// Kills a worker, which must still be at work.
fn end(worker: &mut Child) {
    worker.kill().expect("killed");
    let end = worker.wait().expect("ended");
    assert_eq!(end.signal(), Some(9), "it ended by itself: {end}");
}

#[test]
fn processes_that_are_killed_keep_the_sum() {
    let (processes, kills) = if soak() { (4, 150) } else { (3, 12) };
    let world = World::start();
    let root = world.root.path().display().to_string();
    create_all(&trio::store(&world));
    let start = |seed: usize| -> Child {
        let variables = [
            ("CACHETX_TEST_URL", world.server.url()),
            ("CACHETX_TEST_ROOT", root.clone()),
            ("CACHETX_TEST_SEED", seed.to_string()),
        ];
        let mut worker = child("transaction_sums::moves", &variables);
        worker.stdout(std::process::Stdio::null());
        worker.spawn().expect("a child")
    };
    // Its locks must not expire while it looks: only then it sees no transfer half done.
    let store = trio::store(&world);
    let documents = all(&store);
    let mut dice = Dice(99);
    let mut workers: Vec<Child> = (1..=processes).map(start).collect();
    for kill in 0..kills {
        // At a random point: how long a worker lives decides where.
        thread::sleep(Duration::from_millis(80 + dice.below(120) as u64));
        let one = dice.below(workers.len());
        end(&mut workers[one]);
        workers[one] = start(100 + kill);
        if kill % 4 == 3 {
            assert_eq!(sum(&documents, &store), SUM, "after {kill} kills");
        }
    }
    for worker in &mut workers {
        end(worker);
    }
    assert_eq!(sum(&documents, &store), SUM);
    let commits = documents.iter().map(|it| it.read().expect("read").n);
    assert!(commits.clone().any(|n| n != EACH), "something was moved");

    // A save of each document sweeps what was never committed.
    for document in &documents {
        let locked = document.lock_timeout(Duration::from_secs(60));
        locked.expect("locked").dump_and_unlock().expect("saved");
    }
    drop(open(world.server.url(), &root));
    for n in 0..DOCUMENTS {
        let left = left_over(world.root.path(), &format!("run-{n}"));
        assert_eq!(left, Vec::<String>::new());
    }
}

#[test]
#[ignore = "a child process of another test"]
fn moves() {
    let (Some(url), Some(root), Some(seed)) = (
        given("CACHETX_TEST_URL"),
        given("CACHETX_TEST_ROOT"),
        given("CACHETX_TEST_SEED"),
    ) else {
        return;
    };
    let store = open(url, &root);
    let (documents, mut dice) = (all(&store), Dice(seed.parse().expect("a number")));
    // It is killed, unless its parent is gone.
    let end = Instant::now() + Duration::from_secs(600);
    while Instant::now() < end {
        match transfer(&documents, &store, &mut dice) {
            Ok(()) => {}
            Err(e) if e.is_lock_lost() || e.is_conflict() || e.is_fenced() => {}
            Err(e) if e.is_retryable() => {}
            Err(e) => {
                let _ = writeln!(std::io::stderr(), "{e}");
                std::process::exit(1);
            }
        }
    }
}
