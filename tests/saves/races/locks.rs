//! Races 1 to 5: who holds the lock. In depth: tests/locks/lock.rs, tests/saves/no_lost_save.rs and tests/saves/counter.rs.

use super::{
    Instance, Process, Verdict, Way,
    by_hand::lock_key,
    ensure, only_the_library_passes,
    support::{self, Climate, World, until},
};
use std::{
    collections::HashSet,
    sync::{Arc, Barrier, Mutex},
    thread,
};

/// A document of one year.
fn prepare(world: &World) {
    let document = world.climate(&world.store());
    if document.exists().expect("a folder to look into") {
        document.delete(cachetx::NO_TASKS).expect("deleted");
    }
    document.create(&Climate::of(1)).expect("created");
}

fn lock(process: &dyn Process) -> Box<dyn Instance> {
    let mut instance = process.open().expect("it is there");
    instance.lock().expect("it is free");
    instance
}

/// Callers that want a lock which another one holds all get it, one after the other.
fn rapid_locks(way: Way, world: &World) -> Verdict {
    const CALLERS: usize = 8;
    prepare(world);
    let asked = Arc::new(Mutex::new(HashSet::new()));
    let asks = asked.clone();
    let process = way.traced(world, move |step| {
        if step == "server.Acquire" {
            asks.lock().unwrap().insert(thread::current().id());
        }
    });
    let done: Vec<Verdict> = thread::scope(|scope| {
        let callers: Vec<_> = (0..CALLERS)
            .map(|_| {
                scope.spawn(|| {
                    let mut instance = process.open()?;
                    instance.lock()?;
                    // Nobody releases the lock before all have asked. Tasks share threads, which
                    // distinguish callers here.
                    until("all have asked", || {
                        cfg!(cachetx_by_tasks) || asked.lock().unwrap().len() == CALLERS
                    });
                    instance.add(1);
                    instance.dump_and_unlock()
                })
            })
            .collect();
        let ends = callers.into_iter().map(|it| it.join().expect("no panic"));
        ends.collect()
    });
    let refused: Vec<_> = done.into_iter().filter_map(Result::err).collect();
    ensure(refused.is_empty(), || {
        format!("{} of {CALLERS} callers were sent away", refused.len())
    })?;
    let years = world.on_disk().years;
    ensure(years == 1 + CALLERS as u64, || format!("{years} years"))
}

#[test]
fn race_1_rapid_sequential_locks() {
    only_the_library_passes(rapid_locks, "7 of 8 callers were sent away");
}

/// Threads that open the same document share one instance, and changes by both are kept.
fn two_instances(way: Way, world: &World) -> Verdict {
    prepare(world);
    let process = way.start(world);
    let both = Barrier::new(2);
    let open = || {
        both.wait();
        let opened = process.open();
        // Neither instance is dropped before the other exists.
        both.wait();
        opened
    };
    let (one, other) = thread::scope(|scope| {
        let other = scope.spawn(open);
        (open(), other.join().expect("no panic"))
    });
    let mut instances = [one?, other?];
    let [one, other] = [0, 1].map(|n: usize| instances[n].address());
    for instance in &mut instances {
        instance.lock()?;
        instance.add(1);
        instance.dump_and_unlock()?;
    }
    let years = world.on_disk().years;
    ensure(years == 3, || {
        format!("an update is lost: {years} years in place of 3")
    })?;
    ensure(one == other, || "two instances".to_owned())
}

#[test]
fn race_2_two_threads_open_the_same_document() {
    only_the_library_passes(two_instances, "an update is lost");
}

/// The lock expires, even if it is kept alive.
fn expire(world: &World, _: &dyn Process) {
    let mut redis = world.redis();
    until("the lock is gone", || {
        redis::cmd("PEXPIRE")
            .arg(lock_key())
            .arg(1)
            .exec(&mut redis)
            .expect("PEXPIRE");
        support::get(&mut redis, &lock_key()).is_none()
    });
}

/// A holder whose lock is gone, and who has not seen the next holder's save, does not write.
fn lost_lock(way: Way, world: &World, lose: fn(&World, &dyn Process)) -> Verdict {
    prepare(world);
    let [first, second] = [way.start(world), way.start(world)];
    let mut late = lock(&*first);
    late.add(100);
    lose(world, &*second);
    let mut next = lock(&*second);
    next.add(1);
    next.dump_and_unlock()?;
    let written = late.dump_and_unlock().is_ok();
    let years = world.on_disk().years;
    ensure(!written && years == 2, || {
        format!("the first holder writes anyway: {years} years in place of 2")
    })
}

#[test]
fn race_3_a_lock_expires_while_its_holder_works() {
    let check = |way: Way, world: &World| lost_lock(way, world, expire);
    only_the_library_passes(check, "writes anyway: 101 years");
}

/// A holder whose lock is gone leaves the next holder's lock alone.
fn foreign_lock(way: Way, world: &World, act: fn(&mut dyn Instance) -> bool) -> Verdict {
    prepare(world);
    let [first, second] = [way.start(world), way.start(world)];
    let mut late = lock(&*first);
    expire(world, &*second);
    let mut next = lock(&*second);
    let holder = || support::get(&mut world.redis(), &lock_key());
    let before = holder();
    assert!(before.is_some(), "the next one holds it");
    let acted = act(&mut *late);
    ensure(holder() == before, || {
        "the next one's lock is touched".to_owned()
    })?;
    ensure(!acted, || "it is said to be renewed".to_owned())?;
    next.add(1);
    next.dump_and_unlock()?;
    let years = world.on_disk().years;
    ensure(years == 2, || format!("{years} years"))
}

#[test]
fn race_4_a_holder_releases_or_overwrites_a_lock_that_is_no_longer_its_own() {
    let acts: [fn(&mut dyn Instance) -> bool; 2] = [
        |late| late.renew().is_ok(),
        |late| {
            late.unlock();
            false
        },
    ];
    for act in acts {
        let check = |way: Way, world: &World| foreign_lock(way, world, act);
        only_the_library_passes(check, "the next one's lock is touched");
    }
}

#[test]
fn race_5_an_operator_clears_the_locks_while_a_holder_is_active() {
    let check =
        |way: Way, world: &World| lost_lock(way, world, |_, operator| operator.clear_locks());
    only_the_library_passes(check, "writes anyway: 101 years");
}
