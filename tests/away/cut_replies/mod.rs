//! Requests and replies that are lost, late or cut in half, at the lock and at the commit, once or twice in a row: what an
//! outcome says is what happened, and it happened once.

mod bed;
mod bench;
mod plan;

use crate::support;
use bed::{Bed, Topology};
use bench::Bench;
use cachetx::{Engine, testing::ServerBinary};
use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};
use std::cell::RefCell;

/// For each engine in each topology; `CACHETX_CUTS` overrides it.
const SAVES: u32 = 50;
/// Servers that these are spread over, where a topology takes seconds to start: chosen by the seed, and all of them with
/// `CACHETX_CUTS`. A single server is started for each, and has all the saves.
const SERVERS: usize = 2;

fn cut(topology: Topology, engine: Engine) {
    let asked = support::given("CACHETX_CUTS").map(|n| n.parse().expect("a number"));
    let seed: u64 =
        support::given("CACHETX_SEED").map_or_else(rand_seed, |n| n.parse().expect("a number"));
    let seeded = format!("CACHETX_SEED={seed}");
    let mut servers = servers(engine);
    let mut saves = asked.unwrap_or(SAVES);
    if topology != Topology::Single {
        if asked.is_none() {
            let first = seed % servers.len() as u64;
            servers.rotate_left(usize::try_from(first).expect("a few"));
            servers.truncate(SERVERS);
        }
        saves = saves.div_ceil(u32::try_from(servers.len()).expect("a few"));
    }
    let mut struck = 0;
    for (binary, seed) in servers.into_iter().zip(seed..) {
        let bed = Bed::start(topology, binary);
        let mut bench = Bench::new(&bed, engine);
        let name = format!("{engine:?}, {topology:?}, {binary}, {seeded}");
        saves_under_plans(&mut bench, saves, seed).unwrap_or_else(|e| panic!("{name}: {e}"));
        eprintln!("{name}: {} faults, {:?}", bench.struck(), bench.tally);
        struck += bench.struck();
    }
    assert!(struck > 0, "no fault met its request");
}

fn saves_under_plans(bench: &mut Bench<'_>, saves: u32, seed: u64) -> Result<(), String> {
    let mut bytes = [0; 32];
    bytes[..8].copy_from_slice(&seed.to_le_bytes());
    let config = Config {
        cases: saves,
        // Each case goes on from the one before.
        max_shrink_iters: 0,
        failure_persistence: None,
        ..Config::default()
    };
    let rng = TestRng::from_seed(RngAlgorithm::ChaCha, &bytes);
    let plans = plan::plan(bench.is_replicated());
    let bench = RefCell::new(bench);
    let run =
        TestRunner::new_with_rng(config, rng).run(&plans, |plan| bench.borrow_mut().check(plan));
    run.map_err(|e| e.to_string())
}

fn rand_seed() -> u64 {
    use std::hash::{BuildHasher, RandomState};
    // Each server takes one more.
    RandomState::new().hash_one(0) >> 1
}

/// Those that the engine works on.
fn servers(engine: Engine) -> Vec<&'static ServerBinary> {
    let all = ServerBinary::all();
    assert!(!all.is_empty(), "no server found: run `make servers`");
    let has_engine = |binary: &&ServerBinary| {
        let has = engine != Engine::Function || binary.version() >= (7, 0, 0);
        if !has {
            support::skipped("functions", &format!("none on {binary}"));
        }
        has
    };
    all.iter().filter(has_engine).collect()
}

#[test]
fn scripts_happen_once_and_outcomes_are_true() {
    cut(Topology::Single, Engine::Script);
}

#[test]
fn functions_happen_once_and_outcomes_are_true() {
    cut(Topology::Single, Engine::Function);
}

#[test]
fn watched_transactions_happen_once_and_outcomes_are_true() {
    cut(Topology::Single, Engine::Watch);
}

#[test]
fn scripts_happen_once_in_a_cluster() {
    cut(Topology::Cluster, Engine::Script);
}

#[test]
fn functions_happen_once_in_a_cluster() {
    cut(Topology::Cluster, Engine::Function);
}

#[test]
fn watched_transactions_happen_once_in_a_cluster() {
    cut(Topology::Cluster, Engine::Watch);
}

#[test]
fn scripts_happen_once_under_sentinels() {
    cut(Topology::Sentinel, Engine::Script);
}

#[test]
fn functions_happen_once_under_sentinels() {
    cut(Topology::Sentinel, Engine::Function);
}

#[test]
fn watched_transactions_happen_once_under_sentinels() {
    cut(Topology::Sentinel, Engine::Watch);
}
