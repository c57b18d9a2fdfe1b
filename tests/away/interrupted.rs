//! Signals that come all the time, while a server is asked that takes its time.
//!
//! `CACHETX_SOAK` makes it 1,000 saves each.

use crate::support::{self, Climate, World, child, given};
use cachetx::{
    CacheOutcome, Save, Store,
    testing::{Cluster, Proxy, SentinelTrio, ServerOptions},
};
use nix::sys::{
    signal::{SigEvent, SigevNotify, Signal},
    time::TimeSpec,
    timer::{Expiration, Timer, TimerSetTimeFlags},
};
use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::SeqCst},
    },
    thread,
    time::Duration,
};

/// How far away the server is: each reply takes two signals.
const DISTANCE: Duration = Duration::from_millis(2);
const PERIOD: Duration = Duration::from_millis(1);
/// Threads that save the same document, so that they wait for its lock.
const WRITERS: u64 = 2;
const CHILD: &str = "interrupted::saves_under_signals";

fn saves(few: u64) -> u64 {
    match given("CACHETX_SOAK") {
        Some(_) => 1_000,
        None => few,
    }
}

/// Saves in a process of its own, which signals interrupt: the servers, and the proxies before them, are in this one.
fn all_are_committed(way: &str, urls: &[String], saves: u64) {
    let root = tempfile::TempDir::new().expect("a temporary folder");
    let variables = [
        ("CACHETX_WAY", way.to_owned()),
        ("CACHETX_URLS", urls.join(" ")),
        ("CACHETX_ROOT", root.path().display().to_string()),
        ("CACHETX_SAVES", saves.to_string()),
    ];
    let mut child = child(CHILD, &variables);
    let done = child.stderr(std::process::Stdio::inherit()).output();
    let said = String::from_utf8(done.expect("it ran").stdout).expect("text");
    let number = |name: &str| -> u64 {
        let line = said.lines().find_map(|line| line.strip_prefix(name));
        let number = line.and_then(|rest| rest.trim().parse().ok());
        number.unwrap_or_else(|| panic!("no `{name}` in {said}"))
    };
    let (committed, interrupted) = (number("committed"), number("interrupted"));
    eprintln!("{way}: {committed} committed, {interrupted} of them met a signal");
    assert_eq!(committed, WRITERS * saves, "signals cost saves: {said}");
    assert!(interrupted >= WRITERS * saves / 2, "too few signals came");
}

#[test]
fn saves_on_one_server_are_committed_under_signals() {
    let world = World::start();
    let proxy = Proxy::start(world.server.port()).expect("a proxy");
    proxy.delay_replies(DISTANCE);
    all_are_committed("single", &[proxy.url()], saves(100));
}

#[test]
fn saves_in_a_cluster_are_committed_under_signals() {
    let options = ServerOptions::new().proxied();
    let cluster = Cluster::start_with(support::any_binary(), options).expect("a Cluster");
    let proxies = (0..6).filter_map(|n| cluster.node(n).proxy());
    proxies.for_each(|proxy| proxy.delay_replies(DISTANCE));
    all_are_committed("cluster", &cluster.urls(), saves(50));
}

#[test]
fn saves_behind_sentinel_are_committed_under_signals() {
    let options = ServerOptions::new().proxied();
    let trio = SentinelTrio::start_with(support::any_binary(), options).expect("a trio");
    let proxies = (0..3).filter_map(|n| trio.server(n).proxy());
    proxies.for_each(|proxy| proxy.delay_replies(DISTANCE));
    all_are_committed(trio.name(), &trio.urls(), saves(50));
}

fn store(way: &str) -> Store {
    let urls = given("CACHETX_URLS").expect("given");
    let urls: Vec<&str> = urls.split(' ').collect();
    let builder = support::cache_builder();
    let builder = match way {
        "single" => builder.url(urls[0]),
        "cluster" => builder.cluster(urls),
        name => builder.sentinel(name, urls),
    };
    let root = given("CACHETX_ROOT").expect("given");
    let store = Store::builder(builder.open().expect("the cache opens")).root(root);
    store.open().expect("the store opens")
}

/// Sends this thread signals as long as it lives.
fn alarm() -> Timer {
    let notify = SigevNotify::SigevThreadId {
        signal: Signal::SIGALRM,
        thread_id: nix::unistd::gettid().as_raw(),
        si_value: 0,
    };
    let clock = nix::time::ClockId::CLOCK_MONOTONIC;
    let mut timer = Timer::new(clock, SigEvent::new(notify)).expect("a timer");
    let period = Expiration::Interval(TimeSpec::from_duration(PERIOD));
    timer
        .set(period, TimerSetTimeFlags::empty())
        .expect("it is set");
    timer
}

#[test]
#[ignore = "a child of the tests above"]
fn saves_under_signals() {
    let Some(way) = given("CACHETX_WAY") else {
        return;
    };
    let store = store(&way);
    let saves: u64 = given("CACHETX_SAVES")
        .expect("given")
        .parse()
        .expect("a number");
    let climate = store
        .document::<Climate>(support::RUN, "climate")
        .expect("a document");
    climate.create(&Climate::of(0)).expect("created");
    let came = Arc::new(AtomicBool::new(false));
    signal_hook::flag::register(Signal::SIGALRM as i32, Arc::clone(&came)).expect("a handler");
    let write = || {
        let _alarm = alarm();
        let (mut committed, mut interrupted) = (0, 0);
        for _ in 0..saves {
            let saved = climate.locked_with(Save::new(), |climate| {
                climate.years += 1;
                Ok(())
            });
            match saved.map(|(_, outcome)| outcome.cache) {
                Ok(CacheOutcome::Committed { .. }) => committed += 1,
                other => {
                    eprintln!("{other:?}");
                    break;
                }
            }
            interrupted += u64::from(came.swap(false, SeqCst));
        }
        (committed, interrupted)
    };
    let sums = thread::scope(|scope| {
        let writers: Vec<_> = (0..WRITERS).map(|_| scope.spawn(write)).collect();
        let done = writers.into_iter().map(|it| it.join().expect("no panic"));
        done.fold((0, 0), |(a, b), (c, i)| (a + c, b + i))
    });
    println!("\ncommitted {}\ninterrupted {}", sums.0, sums.1);
}
