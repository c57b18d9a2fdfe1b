//! Random histories: the same steps on every engine of every server and on the model, with the same
//! replies and the same keys, contents and lives after each step.

mod compare;
mod draw;
mod side;
mod step;

use compare::agree;
pub(super) use compare::{CLOCKS, owners, same_reply};
pub(super) use side::{Dump, Model, Served, Side};

use super::*;
use crate::op::Reply;
use proptest::{
    strategy::{Strategy as _, ValueTree as _},
    test_runner::{Config, RngAlgorithm, TestCaseError, TestError, TestRng, TestRunner},
};
use std::{cell::RefCell, env};
use step::Step;

/// The number of histories that `cargo test` runs; `CACHETX_HISTORIES` overrides it.
const HISTORIES: u32 = 500;
/// Attempts to make a failing history shorter.
const SHRINKS: u32 = 2_000;

/// The engines that must agree.
fn engines(server: &Server) -> Vec<Served> {
    let kinds = ENGINES.iter().filter(|kind| has(server.binary(), **kind));
    let served = kinds.map(|kind| {
        let engine = ServerEngine::open(config(server.unix_url(), *kind)).unwrap();
        Served::new(&format!("{kind:?}"), server, Box::new(engine))
    });
    served.collect()
}

/// Whether `served` does the same as the model in this history.
fn check(history: &[Step], served: &mut Served) -> Result<(), String> {
    served.empty();
    agree(served, &mut Model::new(), history)
}

fn number(name: &str) -> Option<u64> {
    let text = env::var(name).ok()?;
    Some(
        text.parse()
            .unwrap_or_else(|_| panic!("{name}={text}: not a number")),
    )
}

fn rng(seed: u64) -> TestRng {
    let mut bytes = [0; 32];
    bytes[..8].copy_from_slice(&seed.to_le_bytes());
    TestRng::from_seed(RngAlgorithm::ChaCha, &bytes)
}

/// The histories of a seed, one after the other.
pub(super) fn histories(seed: u64) -> impl Iterator<Item = Vec<Step>> {
    let mut runner = TestRunner::new_with_rng(Config::default(), rng(seed));
    std::iter::repeat_with(move || {
        let tree = draw::history().new_tree(&mut runner);
        tree.expect("a history").current()
    })
}

/// The first of `count` histories in which `served` differs from the model, with the difference.
pub(super) fn first_difference(served: &mut Served, seed: u64, count: usize) -> Option<String> {
    let mut numbered = (1..).zip(histories(seed)).take(count);
    numbered.find_map(|(number, history)| {
        let error = check(&history, served).err()?;
        Some(format!("history {number} of seed {seed}: {error}"))
    })
}

/// Looks for a history in which a side differs from the model; returns the shortest form of it that
/// still does.
pub(super) fn hunt(sides: Vec<Served>, seed: u64, cases: u32) -> Result<(), (String, Vec<Step>)> {
    let sides = RefCell::new(sides);
    let config = Config {
        cases,
        max_shrink_iters: SHRINKS,
        failure_persistence: None,
        ..Config::default()
    };
    let mut runner = TestRunner::new_with_rng(config, rng(seed));
    let result = runner.run(&draw::history(), |history| {
        let mut sides = sides.borrow_mut();
        let mut all = sides.iter_mut();
        all.try_for_each(|side| check(&history, side).map_err(TestCaseError::fail))
    });
    result.map_err(|error| match error {
        TestError::Fail(why, history) => (why.to_string(), history),
        TestError::Abort(why) => (why.to_string(), Vec::new()),
    })
}

#[test]
fn every_engine_on_every_server_agrees_with_the_model() {
    let seed = number("CACHETX_SEED").unwrap_or_else(|| getrandom::u64().unwrap());
    let cases = number("CACHETX_HISTORIES").map_or(HISTORIES, |n| u32::try_from(n).unwrap());
    let servers: Vec<Server> = servers()
        .iter()
        .map(|b| Server::start(b).unwrap())
        .collect();
    let served: Vec<Served> = servers.iter().flat_map(engines).collect();
    for side in &served {
        println!(
            "{cases} histories of CACHETX_SEED={seed} with {}",
            side.name
        );
    }
    if let Err((why, history)) = hunt(served, seed, cases) {
        panic!("with CACHETX_SEED={seed}: {why}\n{history:#?}");
    }
}

/// Histories that never commit would all agree.
#[test]
fn histories_come_to_every_reply_and_to_refusals() {
    let mut seen: BTreeMap<String, u32> = BTreeMap::new();
    for history in histories(1).take(600) {
        let mut model = Model::new();
        for step in &history {
            let name = match model.take(step) {
                None => continue,
                Some(Ok(reply)) => kind(&reply),
                Some(Err(_)) => "refused".to_owned(),
            };
            *seen.entry(name).or_default() += 1;
        }
    }
    for name in [
        "Acquire(Acquired",
        "Acquire(Held",
        "Renew(Done",
        "Renew(Lost",
        "Release(Done",
        "Release(Lost",
        "Prepare(Done",
        "Prepare(Lost",
        "Commit(Committed",
        "Commit(Replayed",
        "Commit(Lost",
        "Commit(Superseded",
        "Invalidate(Removed",
        "Lease(Present",
        "Lease(Newer",
        "Lease(Busy",
        "Lease(Leased",
        "Extend(Done",
        "Extend(Lost",
        "GiveBack(Done",
        "GiveBack(Lost",
        "Fill(Filled",
        "Fill(Refused",
        "Read(Found",
        "ClearLocks(Cleared",
        "Holders(Found",
        "refused",
    ] {
        let times = seen.get(name).copied().unwrap_or(0);
        assert!(times >= 20, "{name} came {times} times: {seen:?}");
    }
}

/// `Commit(Lost`, without its fields.
fn kind(reply: &Reply) -> String {
    let text = format!("{reply:?}");
    let name = text.split([' ', ')']).next().unwrap_or_default();
    let (operation, reply) = name.split_once('(').unwrap_or((name, ""));
    let reply = reply.split('(').next().unwrap_or_default();
    format!("{operation}({reply}")
}
