//! Requests and replies that are lost, late or cut in half, at the lock and at the commit, once or twice in a row: what an
//! outcome says is what happened, and it happened once.
#![cfg(feature = "testing")]

mod support;

use cachetx::{
    CacheOutcome, Document, Effect, Engine, Outcome, Store,
    testing::{Proxy, ServerBinary, WireFault},
};
use proptest::{
    prelude::*,
    test_runner::{Config, RngAlgorithm, TestRng, TestRunner},
};
use std::{
    collections::{BTreeMap, VecDeque},
    sync::{Arc, Mutex},
    time::Duration,
};
use support::{Climate, World, get, key, on_every_server};

/// Short, since a third of the saves waits for it; a reply that is late for another reason makes another outcome, and a true
/// one.
const TIMEOUT: Duration = Duration::from_millis(60);
/// For each engine on each server; `CACHETX_CUTS` overrides it.
const SAVES: u32 = 50;

#[derive(Clone, Copy, Debug)]
enum Trouble {
    Wire(WireFault),
    /// The reply comes after the time-out.
    Late,
    None,
}

/// What happens to the first tries of one operation, in order.
type Plan = BTreeMap<&'static str, VecDeque<Trouble>>;

fn trouble() -> impl Strategy<Value = Trouble> {
    prop_oneof![
        3 => Just(Trouble::Wire(WireFault::DropReply)),
        2 => Just(Trouble::Wire(WireFault::SwallowReply)),
        3 => Just(Trouble::Wire(WireFault::TruncateReply)),
        3 => Just(Trouble::Wire(WireFault::DropRequest)),
        1 => Just(Trouble::Late),
        2 => Just(Trouble::None),
    ]
}

fn plan() -> impl Strategy<Value = Plan> {
    let tries = || proptest::collection::vec(trouble(), 1..3).prop_map(VecDeque::from);
    (proptest::option::weighted(0.2, tries()), tries()).prop_map(|(acquire, commit)| {
        let acquire = acquire.map(|tries| ("server.Acquire", tries));
        acquire
            .into_iter()
            .chain([("server.Commit", commit)])
            .collect()
    })
}

struct Bench<'a> {
    world: &'a World,
    proxy: Arc<Proxy>,
    plan: Arc<Mutex<Plan>>,
    store: Store,
    document: Document<Climate>,
    years: u64,
    /// `SET`s of one commit, counted by the server.
    sets_of_a_commit: u64,
}

impl<'a> Bench<'a> {
    fn new(world: &'a World, engine: Engine) -> Self {
        let proxy = Arc::new(Proxy::start(world.server.port()).expect("a proxy"));
        let plan = Arc::new(Mutex::new(Plan::new()));
        let cache = cachetx::Cache::builder(support::rules())
            .url(proxy.url())
            .engine(engine)
            .connect_timeout(Duration::from_secs(5))
            .response_timeout(TIMEOUT)
            // Every call is to reach the wire.
            .circuit_breaker(Duration::ZERO)
            .open()
            .expect("a cache");
        let (troubles, wire) = (plan.clone(), proxy.clone());
        let store = Store::builder(cache)
            .root(world.root.path())
            .trace(move |step| {
                wire.disarm();
                wire.delay_replies(Duration::ZERO);
                let mut plan = troubles.lock().expect("not poisoned");
                match plan.get_mut(step).and_then(VecDeque::pop_front) {
                    Some(Trouble::Wire(fault)) => wire.inject(fault),
                    Some(Trouble::Late) => wire.delay_replies(2 * TIMEOUT),
                    Some(Trouble::None) | None => {}
                }
            })
            .open()
            .expect("a store");
        let document = world.climate(&store);
        let mut bench = Self {
            world,
            proxy,
            plan,
            store,
            document,
            years: 1,
            sets_of_a_commit: 0,
        };
        bench.create();
        bench.sets_of_a_commit = bench.quiet_save();
        assert!(bench.sets_of_a_commit > 0);
        bench
    }

    /// Until it goes through: a machine under load is slower than the time-out now and then.
    fn create(&mut self) {
        support::until("the document is there", || {
            let _ = self.document.create(&Climate::of(1));
            self.document.exists().expect("stat")
        });
    }

    fn quiet_save(&mut self) -> u64 {
        loop {
            if let Some((sets, outcome)) = self.save(Plan::new())
                && matches!(outcome.cache, CacheOutcome::Committed { .. })
            {
                return sets;
            }
        }
    }

    fn sets(&self) -> u64 {
        let info: String = redis::cmd("INFO")
            .arg("commandstats")
            .query(&mut self.world.redis())
            .expect("INFO");
        let line = info
            .lines()
            .find_map(|line| line.strip_prefix("cmdstat_set:calls="));
        line.and_then(|rest| rest.split(',').next()?.parse().ok())
            .unwrap_or(0)
    }

    /// Ends the faults, and waits until what was put off is done.
    fn calm(&self) {
        self.proxy.disarm();
        self.proxy.delay_replies(Duration::ZERO);
        support::until("the outbox is empty", || {
            self.store.cache().stats().outbox_pending == 0
        });
    }

    /// Locks, changes and saves under the plan; how often the server was told to `SET` since the commit began. `None` where
    /// there was no lock to be had.
    fn save(&mut self, plan: Plan) -> Option<(u64, Outcome)> {
        self.calm();
        self.world.warm();
        *self.plan.lock().expect("not poisoned") = plan;
        let locked = self.document.lock_timeout(Duration::ZERO);
        let mut held = match locked {
            Ok(held) => held,
            Err(e) => {
                assert!(e.is_unavailable() || e.is_lock_held(), "{e}");
                assert_eq!(self.world.on_disk().years, self.years);
                // Nobody holds what a lost reply may have taken.
                self.proxy.disarm();
                self.proxy.delay_replies(Duration::ZERO);
                let freed = redis::cmd("DEL")
                    .arg(key("climate") + ":lock")
                    .exec(&mut self.world.redis());
                freed.expect("DEL");
                return None;
            }
        };
        let before = self.sets();
        held.years = self.years + 1;
        let outcome = held
            .dump_and_unlock_with_transaction(["build_climate"])
            .expect("the file is written whatever the server does");
        self.years += 1;
        assert_eq!(self.world.on_disk().years, self.years);
        Some((self.sets() - before, outcome))
    }

    /// What the outcome says, held against the server.
    fn check(&mut self, plan: Plan) -> Result<(), TestCaseError> {
        let Some((sets, outcome)) = self.save(plan) else {
            return Ok(());
        };
        let mut redis = self.world.redis();
        let own = get(&mut redis, &key("climate"));
        let (current, left) = (
            own == Some(Climate::of(self.years).bytes()),
            self.world.dependents(),
        );
        let locked = get(&mut redis, &(key("climate") + ":lock")).is_some();
        prop_assert!(
            sets == 0 || sets == self.sets_of_a_commit,
            "SET ran {sets} times, a commit's are {}: {outcome:?}",
            self.sets_of_a_commit
        );
        match &outcome.cache {
            CacheOutcome::Committed { .. } => {
                prop_assert_eq!(sets, self.sets_of_a_commit, "said Committed");
                prop_assert!(current && left == 0 && !locked, "{own:?}, {left}, {locked}");
            }
            CacheOutcome::Invalidated { .. } => {
                prop_assert!(
                    own.is_none() && left == 0 && !locked,
                    "{own:?}, {left}, {locked}"
                );
            }
            CacheOutcome::Deferred { cause, .. } => {
                prop_assert!(cause.is_unavailable(), "{}", cause);
                if cause.effect() == Effect::None {
                    prop_assert!(sets == 0 && !current, "said that nothing was done");
                }
                self.calm();
                prop_assert_eq!(self.world.dependents(), 0, "and done later");
            }
            other => prop_assert!(false, "{other:?}"),
        }
        let read = self.document.read().expect("the file is there");
        prop_assert_eq!(read.years, self.years);
        let _ = self.store.clear_locks(support::RUN);
        Ok(())
    }
}

fn cut(world: &World, engine: Engine) {
    let saves = support::given("CACHETX_CUTS").map_or(SAVES, |n| n.parse().expect("a number"));
    let seed: u64 =
        support::given("CACHETX_SEED").map_or_else(rand_seed, |n| n.parse().expect("a number"));
    eprintln!("{saves} saves by {engine:?} with CACHETX_SEED={seed}");
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
    let bench = std::cell::RefCell::new(Bench::new(world, engine));
    let run =
        TestRunner::new_with_rng(config, rng).run(&plan(), |plan| bench.borrow_mut().check(plan));
    run.unwrap_or_else(|e| panic!("{engine:?}, CACHETX_SEED={seed}: {e}"));
}

fn rand_seed() -> u64 {
    use std::hash::{BuildHasher, RandomState};
    RandomState::new().hash_one(0)
}

fn has_functions(binary: &ServerBinary) -> bool {
    !binary.to_string().starts_with("redis-6")
}

#[test]
fn scripts_happen_once_and_outcomes_are_true() {
    on_every_server(|world| cut(world, Engine::Script));
}

#[test]
fn functions_happen_once_and_outcomes_are_true() {
    on_every_server(|world| match has_functions(world.server.binary()) {
        true => cut(world, Engine::Function),
        false => support::skipped("functions", &format!("none on {}", world.server.binary())),
    });
}

#[test]
fn watched_transactions_happen_once_and_outcomes_are_true() {
    on_every_server(|world| cut(world, Engine::Watch));
}
