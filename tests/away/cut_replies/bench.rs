//! One document that is saved under one plan after the other, and what each outcome is held against.

use super::{
    bed::{Bed, Wire},
    plan::{Plan, Replicas},
    support::{self, Climate, get, key, on_disk},
};
use cachetx::{CacheOutcome, Document, Effect, Engine, Locked, Outcome, Save, Store};
use proptest::{prelude::*, test_runner::TestCaseError};
use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
    time::Duration,
};

/// Short, since a third of the saves waits for it; a reply that is late for another reason makes another outcome, and a true
/// one.
pub const TIMEOUT: Duration = Duration::from_millis(60);
/// For replicas that are not halted.
const REPLICAS: Duration = Duration::from_millis(100);

pub struct Bench<'a> {
    bed: &'a Bed,
    wire: Arc<Wire>,
    plan: Arc<Mutex<Plan>>,
    store: Store,
    document: Document<Climate>,
    engine: Engine,
    years: u64,
    /// Whether the outbox had anything to do so far.
    put_off: bool,
    /// How often each outcome was seen.
    pub tally: BTreeMap<&'static str, u64>,
}

/// A save, and how often the own entry was given its life meanwhile. By a script it is set before: for an instant, and again by a
/// repeat.
struct Saved {
    outcome: Outcome,
    sets: u64,
    /// The lock, where it was to be kept.
    held: Option<Locked<Climate>>,
}

impl<'a> Bench<'a> {
    pub fn new(bed: &'a Bed, engine: Engine) -> Self {
        let wire = Arc::new(bed.wire());
        let plan = Arc::new(Mutex::new(Plan::default()));
        let cache = bed
            .cache()
            .engine(engine)
            .connect_timeout(Duration::from_secs(5))
            .response_timeout(TIMEOUT)
            // Every call is to reach the wire.
            .circuit_breaker(Duration::ZERO)
            .open_lazy()
            .expect("a cache");
        let (given, armed) = (plan.clone(), wire.clone());
        let store = Store::builder(cache)
            .root(bed.root.path())
            .trace(move |step| {
                armed.clear();
                // What is recorded here is replayed in the background: not before the outcome was checked.
                if step.starts_with("outbox.") {
                    armed.block();
                }
                let mut plan = given.lock().expect("not poisoned");
                let tries = plan.troubles.get_mut(step);
                if let Some(trouble) = tries.and_then(|tries| tries.pop_front()?) {
                    armed.arm(trouble, engine);
                }
            })
            .open()
            .expect("a store");
        let document = store.document(support::RUN, "climate").expect("a document");
        let mut bench = Self {
            bed,
            wire,
            plan,
            store,
            document,
            engine,
            years: 1,
            put_off: false,
            tally: BTreeMap::new(),
        };
        bench.create();
        bench
    }

    pub fn is_replicated(&self) -> bool {
        self.replicas() > 0
    }

    /// Faults that met their request.
    pub fn struck(&self) -> u64 {
        self.wire.struck()
    }

    /// Until it goes through: a machine under load is slower than the time-out now and then.
    fn create(&mut self) {
        support::until("the document is there", || {
            let _ = self.document.create(&Climate::of(1));
            self.document.exists().expect("stat")
        });
    }

    /// Locks, changes and saves under the plan.
    fn save(&mut self, plan: Plan) -> Saved {
        self.settle();
        support::warm(&mut self.bed.redis());
        let Plan {
            replicas,
            keeps_lock,
            ..
        } = plan;
        *self.plan.lock().expect("not poisoned") = plan;
        let mut held = self.lock();
        let mut client = self.bed.redis();
        let watch = Events::of(&mut client);
        held.years = self.years + 1;
        let save = Save::new().tasks(["build_climate"]);
        let save = match replicas {
            Replicas::NotAsked => save,
            _ => save.wait_replicas(self.replicas(), REPLICAS),
        };
        let halted = match replicas {
            Replicas::AskedOneHalted => self.bed.replicas().into_iter().next(),
            _ => None,
        };
        if let Some(halted) = halted {
            halted.pause().expect("it runs");
        }
        let (outcome, held) = match keeps_lock {
            true => (Locked::dump(&mut held, save), Some(held)),
            false => (held.dump_and_unlock_with(save).map_err(Into::into), None),
        };
        let outcome = outcome.expect("the file is written whatever the server does");
        if let Some(halted) = halted {
            halted.resume().expect("it is there");
        }
        self.years += 1;
        assert_eq!(on_disk(self.bed.root.path()).years, self.years);
        let sets = watch.sets(&mut self.bed.redis(), self.engine);
        Saved {
            outcome,
            sets,
            held,
        }
    }

    /// Until it is to be had: where its reply is lost, nobody may hold what was taken.
    fn lock(&mut self) -> Locked<Climate> {
        let mut locked = None;
        support::until("the lock is to be had", || {
            match self.document.lock_timeout(Duration::ZERO) {
                Ok(held) => locked = Some(held),
                Err(e) => {
                    assert!(e.is_unavailable() || e.is_lock_held(), "{e}");
                    assert_eq!(on_disk(self.bed.root.path()).years, self.years);
                    self.free();
                    self.settle();
                }
            }
            locked.is_some()
        });
        locked.expect("it is held")
    }

    fn free(&self) {
        let lock = key("climate") + ":lock";
        let freed = redis::cmd("DEL").arg(lock).exec(&mut self.bed.redis());
        freed.expect("DEL");
    }

    /// What the outcome says, held against the servers.
    pub fn check(&mut self, plan: Plan) -> Result<(), TestCaseError> {
        let asked = plan.replicas;
        let Saved {
            outcome,
            sets,
            held,
        } = self.save(plan);
        let mut redis = self.bed.redis();
        let own = get(&mut redis, &key("climate"));
        let (current, left) = (
            own == Some(Climate::of(self.years).bytes()),
            support::dependents(&mut redis),
        );
        let lock = get(&mut redis, &(key("climate") + ":lock"));
        let lock_is_right = lock.is_some() == held.is_some();
        prop_assert!(sets <= 1, "set {sets} times: {outcome:?}");
        let what = match &outcome.cache {
            CacheOutcome::Committed { removed } => {
                prop_assert_eq!(sets, 1, "said Committed");
                // 0 where its repeat was answered.
                prop_assert!(*removed <= 3, "said {} removed", removed);
                // A repeat that finds the commit done deletes the entry, which may have been deleted since; and on a slow machine
                // a replay that timed out, and was repeated since, may come through only now. All that it does is to delete.
                let deleted = own.is_none() && (*removed == 0 || self.put_off);
                prop_assert!(
                    (current || deleted) && left == 0 && lock_is_right,
                    "{own:?}, {left}, {lock:?}"
                );
                "committed"
            }
            CacheOutcome::Invalidated { .. } => {
                prop_assert!(
                    own.is_none() && left == 0 && lock_is_right,
                    "{own:?}, {left}, {lock:?}"
                );
                "invalidated"
            }
            CacheOutcome::Deferred { cause, .. } => {
                prop_assert!(cause.is_unavailable(), "{}", cause);
                if cause.effect() == Effect::None {
                    prop_assert!(
                        sets == 0 && !current && left > 0,
                        "said that nothing was done: set {sets} times, current: {current}, {left} left, {:?}",
                        self.store.cache().stats()
                    );
                }
                self.put_off = true;
                self.settle();
                prop_assert_eq!(support::dependents(&mut redis), 0, "and done later");
                "deferred"
            }
            other => return Err(TestCaseError::fail(format!("{other:?}"))),
        };
        *self.tally.entry(what).or_default() += 1;
        if let Some(n) = outcome.replicas {
            *self.tally.entry("replicated").or_default() += 1;
            self.check_replicas(n, asked)?;
        }
        let read = self.document.read().expect("the file is there");
        prop_assert_eq!(read.years, self.years);
        let _ = self.store.clear_locks(support::RUN);
        Ok(())
    }

    /// Until nothing is put off: a replay would be taken for the next save's doing.
    fn settle(&self) {
        self.wire.clear();
        let cache = self.store.cache();
        support::until("the outbox is empty", || {
            let _ = cache.replay_outbox();
            cache.stats().outbox_pending == 0
        });
    }

    /// So many replicas had the commit when the wait for them ended.
    fn check_replicas(&self, said: u64, asked: Replicas) -> Result<(), TestCaseError> {
        let able = match asked {
            Replicas::NotAsked => 0,
            Replicas::Asked => u64::from(self.replicas()),
            Replicas::AskedOneHalted => u64::from(self.replicas()) - 1,
        };
        prop_assert!(said <= able, "said {} replicas, {:?}", said, asked);
        let current = Climate::of(self.years).bytes();
        let replicas = self.bed.replicas();
        let have = replicas.iter().filter(|replica| {
            get(&mut self.bed.copy(replica), &key("climate")).as_ref() == Some(&current)
        });
        let have = have.count() as u64;
        prop_assert!(said <= have, "said {} replicas, {} have it", said, have);
        Ok(())
    }

    fn replicas(&self) -> u32 {
        u32::try_from(self.bed.replicas().len()).expect("a few")
    }
}

/// A client that the primary tells of each `SET` of the own entry. Its count of commands would not do: a boot tries some.
struct Events<'a>(redis::PubSub<'a>);

impl<'a> Events<'a> {
    fn of(client: &'a mut redis::Connection) -> Self {
        let mut events = client.as_pubsub();
        let channels = [channel("climate"), channel("marker")];
        events.subscribe(&channels[..]).expect("SUBSCRIBE");
        Self(events)
    }

    /// Those so far.
    fn sets(mut self, redis: &mut redis::Connection, engine: Engine) -> u64 {
        support::set(redis, &key("marker"), b"");
        let (mut set, mut lives) = (0, 0);
        loop {
            let event = self.0.get_message().expect("an event");
            if event.get_channel_name() == channel("marker") {
                break;
            }
            // A SET with a life is both events.
            set += u64::from(event.get_payload_bytes() == b"set");
            lives += u64::from(event.get_payload_bytes() == b"expire");
        }
        match engine {
            Engine::Watch => set,
            _ => lives - set,
        }
    }
}

fn channel(controller: &str) -> String {
    format!("__keyspace@0__:{}", key(controller))
}
