//! Waiting for a lock: woken when it is free, and polling now and then if no message comes.

use crate::support::{self, Climate, RUN, SetOnDrop, World, child, given, on_every_server, until};
use cachetx::{Cache, Document, Engine, KeepAlive, Store, StoreBuilder, testing::Proxy};
use std::{
    io::{BufRead as _, BufReader},
    path::Path,
    process::{Child, ChildStdin, ChildStdout},
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicU64, Ordering::SeqCst},
    },
    thread,
    time::Duration,
};

const PROCESSES: u64 = 2;
const THREADS: u64 = 3;
/// How often each thread of each process takes the lock.
const TURNS: u64 = 12;
/// How long each turn lasts: many times what a polling waiter would sleep at first.
const HOLD: Duration = Duration::from_millis(100);

/// The file in which a holder notes when it released the lock.
const RELEASED: &str = "released";

/// Guards of such a store do not listen to their own lock's channel; guards that are kept alive do
/// so after half a second.
fn that_does_not_listen(builder: StoreBuilder) -> StoreBuilder {
    builder
        .keep_alive(KeepAlive::Off)
        .lock_ttl(Duration::from_secs(3_600))
}

/// A store that counts how often it asks for a lock, and records when a commit with a release is
/// about to be sent.
fn counting(cache: Cache, root: &Path) -> (Store, Arc<AtomicU64>) {
    let asked = Arc::new(AtomicU64::new(0));
    let count = Arc::clone(&asked);
    let released = root.join(RELEASED);
    let store = that_does_not_listen(Store::builder(cache))
        .root(root)
        .lock_wait(Duration::from_secs(300))
        .trace(move |step| {
            if step == "server.Acquire" {
                count.fetch_add(1, SeqCst);
            }
            if step == "server.Commit" {
                std::fs::write(&released, now_us().to_string()).expect("noted");
            }
        })
        .open()
        .expect("a store");
    (store, asked)
}

/// A child that prints a line from time to time.
struct Peer {
    child: Child,
    out: BufReader<ChildStdout>,
    /// Closing it tells the child to end.
    _in: Option<ChildStdin>,
}

impl Peer {
    fn start(world: &World, role: &str) -> Self {
        let variables = [
            ("CACHETX_TEST_URL", world.server.url()),
            ("CACHETX_TEST_ROOT", world.root.path().display().to_string()),
            ("CACHETX_TEST_ROLE", role.to_owned()),
        ];
        let mut child = child("lock_wait::a_process", &variables)
            .spawn()
            .expect("a child");
        let out = BufReader::new(child.stdout.take().expect("its output"));
        let _in = child.stdin.take();
        Self { child, out, _in }
    }

    /// The text after `name=` in the next line that has it.
    fn says(&mut self, name: &str) -> String {
        let mut line = String::new();
        loop {
            line.clear();
            let read = self.out.read_line(&mut line).expect("its output");
            assert!(read > 0, "the child ended before it said {name}");
            if let Some((_, said)) = line.trim_end().split_once(&format!("{name}=")) {
                return said.to_owned();
            }
        }
    }
}

/// By the clock that all processes share.
fn now_us() -> u64 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    u64::try_from(since.expect("a clock").as_micros()).expect("it fits")
}

/// One lock goes round between threads of several processes while others save other documents. A
/// message announces each turn, so a waiter asks about as often as the lock is released, and far
/// less often than by polling.
#[test]
fn a_lock_goes_round_without_polling() {
    let world = World::start();
    let store = world.store();
    world.climate(&store).create(&Climate::of(0)).expect("made");
    let load = Peer::start(&world, "load");
    let mut peers: Vec<Peer> = (0..PROCESSES)
        .map(|_| Peer::start(&world, "turns"))
        .collect();
    let (mut asked, mut waits, mut waited) = (0, Vec::new(), Duration::ZERO);
    for peer in &mut peers {
        asked += peer.says("asked").parse::<u64>().expect("a number");
        waited += Duration::from_micros(peer.says("waited_us").parse().expect("a number"));
        let said = peer.says("waits_us");
        waits.extend(
            said.split(' ')
                .map(|wait| wait.parse::<u64>().expect("a number")),
        );
        assert!(peer.child.wait().expect("it ends").success());
    }
    drop(load._in);
    let turns = PROCESSES * THREADS * TURNS;
    assert_eq!(world.on_disk().years, turns);
    waits.sort_unstable();
    let median = Duration::from_micros(waits[waits.len() / 2]);
    let most = Duration::from_micros(waits[waits.len() * 95 / 100]);
    println!(
        "{turns} turns of {PROCESSES} processes with {THREADS} threads: from a release to the next holder {median:?} (median), {most:?} (95 %); {:.1} requests for the lock a turn",
        asked as f64 / turns as f64
    );
    // A thread asks twice before it waits, one waiter of each process is woken, and on a slow
    // machine each waiter asks once more every 250 ms. Polling takes at least one request every 50
    // ms, and nine in the first 100 ms.
    let polls = u64::try_from(waited.as_millis() / 200).expect("it fits");
    assert!(
        asked <= turns * (3 + PROCESSES) + polls,
        "{asked} requests for {turns} turns and {waited:?} of waiting: the waiters poll"
    );
}

#[test]
#[ignore = "a child process of another test"]
fn a_process() {
    let (Some(url), Some(root), Some(role)) = (
        given("CACHETX_TEST_URL"),
        given("CACHETX_TEST_ROOT"),
        given("CACHETX_TEST_ROLE"),
    ) else {
        return;
    };
    let root = Path::new(&root);
    let cache = support::cache_builder().url(url).open().expect("a cache");
    let (store, asked) = counting(cache, root);
    match role.as_str() {
        "load" => load(
            &Store::builder(store.cache())
                .root(root)
                .open()
                .expect("a store"),
        ),
        _ => {
            let (waits, waited) = turns(&store, root);
            // Written past the harness, which has begun a line.
            println!(
                "\nasked={}\nwaited_us={}\nwaits_us={}",
                asked.load(SeqCst),
                waited.as_micros(),
                waits.join(" ")
            );
        }
    }
}

/// Saves other documents until the parent closes the pipe.
fn load(store: &Store) {
    let ended = AtomicBool::new(false);
    thread::scope(|scope| {
        let _end = SetOnDrop(&ended);
        for controller in ["wepp", "ash"] {
            let (store, ended) = (&store, &ended);
            scope.spawn(move || {
                let document = store
                    .document::<Climate>(RUN, controller)
                    .expect("a document");
                document.create(&Climate::of(0)).expect("made");
                while !ended.load(SeqCst) {
                    let count = |climate: &mut Climate| {
                        climate.years += 1;
                        Ok(())
                    };
                    document.locked(count).expect("saved");
                    thread::yield_now();
                }
            });
        }
        let _ = std::io::stdin().read_line(&mut String::new());
    });
}

/// Takes the lock in turns with others. Returns how long after the last release each turn that had
/// to wait began, in us, and how long all of them waited.
fn turns(store: &Store, root: &Path) -> (Vec<String>, Duration) {
    let waits = Mutex::new((Vec::new(), Duration::ZERO));
    thread::scope(|scope| {
        for _ in 0..THREADS {
            let (store, waits) = (&store, &waits);
            scope.spawn(move || {
                let document = store
                    .document::<Climate>(RUN, "climate")
                    .expect("a document");
                for _ in 0..TURNS {
                    let asked_at = now_us();
                    let mut held = document.lock().expect("a turn");
                    let held_at = now_us();
                    let waited = Duration::from_micros(held_at.saturating_sub(asked_at));
                    waits.lock().expect("not poisoned").1 += waited;
                    let released = std::fs::read_to_string(root.join(RELEASED));
                    let released: Option<u64> = released.ok().and_then(|text| text.parse().ok());
                    if let Some(released) = released.filter(|at| *at > asked_at) {
                        let wait = (held_at - released).to_string();
                        waits.lock().expect("not poisoned").0.push(wait);
                    }
                    held.years += 1;
                    thread::sleep(HOLD);
                    held.dump_and_unlock().expect("saved");
                    // A thread that asks again at once is faster than all waiters in other
                    // processes: by polling they would hardly get a turn.
                    thread::sleep(2 * HOLD);
                }
            });
        }
    });
    waits.into_inner().expect("not poisoned")
}

/// A thread that has just released the lock would be faster than the waiters.
#[test]
fn who_asks_while_others_of_its_process_wait_stands_behind_them() {
    let world = World::start();
    let cache = world.cache();
    let climate = |steps: &Arc<Mutex<Vec<String>>>| -> Document<Climate> {
        let steps = Arc::clone(steps);
        let store = Store::builder(&cache)
            .root(world.root.path())
            .lock_wait(Duration::from_secs(300))
            .trace(move |step| steps.lock().expect("not poisoned").push(step.to_owned()))
            .open();
        world.climate(&store.expect("a store"))
    };
    let count = |steps: &Mutex<Vec<String>>, step: &str| {
        let steps = steps.lock().expect("not poisoned");
        steps.iter().filter(|taken| *taken == step).count()
    };
    let [of_holder, of_waiter, of_third] = [(); 3].map(|()| Arc::default());
    let holder = climate(&of_holder);
    holder.create(&Climate::of(0)).expect("made");
    let held = holder.lock().expect("free");
    thread::scope(|scope| {
        let waiter = climate(&of_waiter);
        scope.spawn(move || waiter.locked(|_| Ok(())).expect("a turn"));
        // The second time it has its place in the queue, and messages come.
        until("it waits", || count(&of_waiter, "listen") >= 3);
        let third = climate(&of_third);
        assert!(third.try_lock().expect_err("held").is_lock_held());
        assert_eq!(count(&of_third, "listen"), 0);
        let asked = count(&of_third, "server.Acquire");
        let third = scope.spawn(move || third.locked(|_| Ok(())).expect("a turn"));
        until("it waits too", || count(&of_third, "listen") > 0);
        assert_eq!(
            count(&of_third, "server.Acquire"),
            asked,
            "it has asked first"
        );
        drop(held);
        third.join().expect("no panic");
    });
}

/// The connection for messages is killed while somebody waits: the waiter polls meanwhile, and is
/// woken again once messages come again.
#[test]
fn without_its_connection_a_waiter_polls_and_with_a_new_one_it_is_woken() {
    on_every_server(|world| {
        for engine in [Engine::Auto, Engine::Watch] {
            let holder = that_does_not_listen(world.store_builder()).open();
            let document = world.climate(&holder.expect("a store"));
            if !document.exists().expect("looked for") {
                document.create(&Climate::of(0)).expect("made");
            }
            let cache = world
                .cache_builder()
                .engine(engine)
                .open()
                .expect("a cache");
            let (waiter, asked) = counting(cache, world.root.path());
            let waiting = world.climate(&waiter);
            let mut redis = world.redis();
            let mut subscribed = || -> u64 {
                let counted: (String, u64) = redis::cmd("PUBSUB")
                    .arg(&["NUMSUB", &(support::key("climate") + ":lock:free")])
                    .query(&mut redis)
                    .expect("PUBSUB");
                counted.1
            };
            let mut plain = world.redis();
            let mut kill = move || {
                let killed: u64 = redis::cmd("CLIENT")
                    .arg(&["KILL", "TYPE", "pubsub"])
                    .query(&mut plain)
                    .expect("CLIENT KILL");
                assert_eq!(killed, 1);
            };
            for turn in 0..2 {
                let held = document.lock().expect("locked");
                thread::scope(|scope| {
                    let waiting = scope.spawn(|| waiting.lock().expect("in the end"));
                    until("the waiter listens", || subscribed() == 1);
                    if turn == 0 {
                        kill();
                        let before = asked.load(SeqCst);
                        until("it polls", || asked.load(SeqCst) > before + 2);
                        until("it listens again", || subscribed() == 1);
                    }
                    // By now it asks four times a second.
                    drop(held);
                    drop(waiting.join().expect("woken"));
                });
            }
            // So that the next engine's waiter uses a channel without listeners.
            drop(waiting);
            drop(waiter);
            until("the reader of messages is gone", || subscribed() == 0);
        }
    });
}

/// If the server sends no message about a release, a waiter finds out by itself.
#[test]
fn a_lock_that_is_deleted_without_a_message_is_found_free() {
    let world = World::start();
    let store = world.store();
    let document = world.climate(&store);
    document.create(&Climate::of(1)).expect("made");
    let lock = support::key("climate") + ":lock";
    support::set(&mut world.redis(), &lock, b"somebody");
    thread::scope(|scope| {
        let waiting = scope.spawn(|| document.lock().expect("in the end").years);
        until("the waiter listens", || {
            let count: (String, u64) = redis::cmd("PUBSUB")
                .arg(&["NUMSUB", &(lock.clone() + ":free")])
                .query(&mut world.redis())
                .expect("PUBSUB");
            count.1 == 1
        });
        redis::cmd("DEL")
            .arg(&lock)
            .exec(&mut world.redis())
            .expect("DEL");
        assert_eq!(waiting.join().expect("it ends"), 1);
    });
}

/// The server that sends messages vanishes without closing the connection: that is noticed, and
/// another connection is opened.
#[test]
fn a_connection_that_has_gone_silent_is_given_up() {
    let world = World::start();
    let proxy = Proxy::start(world.server.port()).expect("a proxy");
    let cache = support::cache_builder().url(proxy.url()).open();
    let (store, _) = counting(cache.expect("a cache"), world.root.path());
    let document = world.climate(&store);
    document.create(&Climate::of(1)).expect("made");
    let subscriber = || -> String {
        let clients: String = redis::cmd("CLIENT")
            .arg(&["LIST", "TYPE", "pubsub"])
            .query(&mut world.redis())
            .expect("CLIENT LIST");
        clients.split(' ').next().unwrap_or_default().to_owned()
    };
    let held = document.lock().expect("locked");
    thread::scope(|scope| {
        // A lock call that asks while replies are held back fails: the server counts as
        // unreachable.
        let waiting = scope.spawn(|| until("it is locked", || document.lock().is_ok()));
        until("it listens", || subscriber().starts_with("id="));
        let first = subscriber();
        // Everything sent from now on is held back on this connection for good, and on others until
        // they are opened again.
        proxy.delay_replies(Duration::from_secs(600));
        redis::cmd("PUBLISH")
            .arg(&[support::key("climate") + ":lock:free", String::new()])
            .exec(&mut world.redis())
            .expect("PUBLISH");
        thread::sleep(Duration::from_millis(50));
        proxy.delay_replies(Duration::ZERO);
        until("another connection brings messages", || {
            let now = subscriber();
            now.starts_with("id=") && now != first
        });
        drop(held);
        waiting.join().expect("locked");
    });
}

/// A free lock takes one round trip, and nothing listens; many waiters in one process share a
/// connection.
#[test]
fn waiters_share_one_connection_which_the_first_of_them_makes() {
    let world = World::start();
    let proxy = Proxy::start(world.server.port()).expect("a proxy");
    let cache = support::cache_builder()
        .url(proxy.url())
        .open()
        .expect("a cache");
    let (store, asked) = counting(cache, world.root.path());
    let document = world.climate(&store);
    document.create(&Climate::of(1)).expect("made");
    let subscribers = || -> usize {
        let clients: String = redis::cmd("CLIENT")
            .arg(&["LIST", "TYPE", "pubsub"])
            .query(&mut world.redis())
            .expect("CLIENT LIST");
        clients.lines().count()
    };
    let held = document.lock().expect("locked");
    assert_eq!(subscribers(), 0);
    thread::scope(|scope| {
        let waiting: Vec<_> = (0..8)
            .map(|_| scope.spawn(|| document.lock().map(drop)))
            .collect();
        until("they listen", || {
            subscribers() == 1 && asked.load(SeqCst) > 16
        });
        drop(held);
        for one in waiting {
            one.join().expect("it ends").expect("locked");
        }
    });
    assert_eq!(subscribers(), 1);
    store.cache().close().expect("closed");
    until("the reader of messages is gone", || subscribers() == 0);
    // A closed cache polls.
    let held = document.lock().expect("locked");
    let refused = document.lock_timeout(Duration::from_millis(20)).map(drop);
    assert!(refused.expect_err("held").is_lock_held());
    drop(held);
}
