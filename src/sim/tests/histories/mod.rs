//! Random histories. Writers, readers, loaders of a dependent and replayers take turns in any
//! order, die, and lose replies; the server is away, restarts without its memory, evicts; time
//! passes. All results must be true.

mod history;
mod record;

use crate::{
    disk::sim::Weakness,
    protocol::Guarantee,
    sim::{choices::some, server::ServerWeakness},
};
use history::History;
use std::collections::BTreeMap;

/// The number of histories in one test; `CACHETX_SIM_RUNS` overrides it.
const HISTORIES: u64 = 500;
/// The same with `CACHETX_SOAK`.
const SOAK_HISTORIES: u64 = 100_000;
/// The kind of histories.
#[derive(Clone, Copy, Debug)]
struct Setting {
    guarantee: Guarantee,
    disk: Option<Weakness>,
    server: Option<ServerWeakness>,
    /// Whether the server may come back from an older snapshot: then dependents are not right until
    /// the echo, or their TTL.
    old_snapshots: bool,
    replay: bool,
    /// Whether, after the replay, a dependent must be right even if a save's writer has died.
    crashes_count: bool,
}

impl Setting {
    fn of(guarantee: Guarantee) -> Self {
        Self {
            guarantee,
            disk: None,
            server: None,
            old_snapshots: false,
            replay: true,
            crashes_count: guarantee == Guarantee::CrashSafe,
        }
    }
}

/// Plays histories. Returns counts of events, or the first history with a result that is not true.
fn play(setting: Setting, histories: u64) -> Result<BTreeMap<&'static str, u64>, String> {
    let mut counts = BTreeMap::new();
    some(histories, |choices| {
        let mut history = History::new(setting, choices);
        let told = history.play().and_then(|()| history.end());
        history.count(&mut counts);
        told.map_err(|why| format!("{setting:?}: {why}\n  {}", history.story()))
    })?;
    Ok(counts)
}

fn histories() -> u64 {
    match std::env::var_os("CACHETX_SOAK") {
        Some(_) => SOAK_HISTORIES,
        None => HISTORIES,
    }
}

#[test]
fn in_random_histories_everybody_is_told_the_truth() {
    for guarantee in [Guarantee::BestEffort, Guarantee::CrashSafe] {
        let counts =
            play(Setting::of(guarantee), histories()).unwrap_or_else(|why| panic!("{why}"));
        println!("{guarantee:?}: {counts:?}");
        if std::env::var_os("CACHETX_SIM_SEED").is_some() {
            continue;
        }
        // A history without events tests nothing.
        for what in [
            "committed",
            "invalidated",
            "deferred",
            "refused: the lock is held",
            "refused: the server is away",
            "a snapshot was read",
            "a dependent was found",
            "a dependent was loaded and filled",
            "a dependent was loaded and not filled",
        ] {
            let times = counts.get(what).copied().unwrap_or(0);
            assert!(times > 0, "{what}: never; {counts:?}");
        }
    }
}

#[test]
fn documents_are_right_whatever_old_snapshot_the_server_comes_back_from() {
    let setting = Setting {
        old_snapshots: true,
        ..Setting::of(Guarantee::BestEffort)
    };
    play(setting, histories() / 2).unwrap_or_else(|why| panic!("{why}"));
}

#[test]
fn histories_find_each_weakness() {
    let (plain, safe) = (
        Setting::of(Guarantee::BestEffort),
        Setting::of(Guarantee::CrashSafe),
    );
    for setting in [
        Setting {
            server: Some(ServerWeakness::FillsWithoutLease),
            ..plain
        },
        Setting {
            server: Some(ServerWeakness::KeepsDependents),
            ..plain
        },
        Setting {
            disk: Some(Weakness::NoSidecarLock),
            ..plain
        },
        Setting {
            disk: Some(Weakness::DeafToTimes),
            ..plain
        },
        Setting {
            replay: false,
            ..plain
        },
        Setting {
            crashes_count: true,
            ..plain
        },
        Setting {
            replay: false,
            ..safe
        },
    ] {
        let why = play(setting, 20 * HISTORIES).expect_err("a weakness that nothing shows");
        println!("{}", why.lines().next().unwrap_or_default());
    }
}
