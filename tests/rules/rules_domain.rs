//! The shipped rules against the domain's facts: the tables here are the platform's own, not the rules file's.

use cachetx::{Params, Rules, Slots};
use std::{collections::BTreeSet, time::Duration};

const CONTROLLERS: [&str; 24] = [
    "ron",
    "topaz",
    "watershed",
    "landuse",
    "soils",
    "climate",
    "wepp",
    "wepppost",
    "observed",
    "ash",
    "debris_flow",
    "rap_ts",
    "openet_ts",
    "rangeland_cover",
    "rhem",
    "rhempost",
    "disturbed",
    "baer",
    "treatments",
    "unitizer",
    "omni",
    "path_ce",
    "dss_export",
    "rusle",
];

const TASKS: [&str; 27] = [
    "project_init",
    "fetch_dem",
    "build_channels",
    "set_outlet",
    "find_outlet",
    "abstract_watershed",
    "build_subcatchments",
    "build_landuse",
    "landuse_map",
    "build_treatments",
    "build_rangeland_cover",
    "build_soils",
    "build_climate",
    "build_rap_ts",
    "build_openet_ts",
    "init_sbs_map",
    "run_wepp_hillslopes",
    "run_wepp_watershed",
    "run_observed",
    "run_debris",
    "run_watar",
    "run_rhem",
    "run_omni_scenarios",
    "run_omni_contrasts",
    "run_path_ce",
    "dss_export",
    "build_rusle",
];

/// What the platform's readiness checks say is out of date after a step.
const OUT_OF_DATE: [(&str, &[&str]); 12] = [
    (
        "build_channels",
        &["watershed", "topaz", "landuse", "soils", "climate"],
    ),
    ("set_outlet", &["watershed"]),
    ("find_outlet", &["watershed"]),
    ("abstract_watershed", &["landuse", "soils", "climate"]),
    (
        "build_landuse",
        &["soils", "wepp", "observed", "debris_flow", "ash"],
    ),
    ("build_rangeland_cover", &["soils", "rhem"]),
    ("build_soils", &["wepp", "observed", "debris_flow", "ash"]),
    (
        "build_climate",
        &[
            "rap_ts",
            "openet_ts",
            "wepp",
            "observed",
            "debris_flow",
            "ash",
        ],
    ),
    ("init_sbs_map", &["disturbed", "baer", "landuse"]),
    (
        "run_wepp_watershed",
        &[
            "wepppost",
            "observed",
            "debris_flow",
            "ash",
            "omni",
            "path_ce",
            "dss_export",
        ],
    ),
    ("run_watar", &["dss_export"]),
    ("run_rhem", &["rhempost"]),
];

/// "…, and what follows from each": the steps that have to be done again, whose own rows therefore count too. The model run
/// is among them, since each of the three puts `wepp` out of date.
const FOLLOWS: [(&str, &[&str]); 2] = [
    (
        "abstract_watershed",
        &[
            "build_landuse",
            "build_soils",
            "build_climate",
            "run_wepp_watershed",
        ],
    ),
    ("build_channels", &["abstract_watershed"]),
];

/// The documents that a step writes, which its save changes in any case.
const WRITES: [(&str, &[&str]); 27] = [
    ("project_init", &CONTROLLERS),
    ("fetch_dem", &["ron", "topaz"]),
    ("build_channels", &["topaz", "watershed"]),
    ("set_outlet", &["watershed"]),
    ("find_outlet", &["watershed"]),
    ("abstract_watershed", &["watershed"]),
    ("build_subcatchments", &["topaz", "watershed"]),
    ("build_landuse", &["landuse"]),
    ("landuse_map", &["landuse"]),
    ("build_treatments", &["treatments"]),
    ("build_rangeland_cover", &["rangeland_cover"]),
    ("build_soils", &["soils"]),
    ("build_climate", &["climate"]),
    ("build_rap_ts", &["rap_ts"]),
    ("build_openet_ts", &["openet_ts"]),
    ("init_sbs_map", &["disturbed", "baer"]),
    ("run_wepp_hillslopes", &["wepp"]),
    ("run_wepp_watershed", &["wepp"]),
    ("run_observed", &["observed"]),
    ("run_debris", &["debris_flow"]),
    ("run_watar", &["ash"]),
    ("run_rhem", &["rhem"]),
    ("run_omni_scenarios", &["omni"]),
    ("run_omni_contrasts", &["omni"]),
    ("run_path_ce", &["path_ce"]),
    ("dss_export", &["dss_export"]),
    ("build_rusle", &["rusle"]),
];

/// A document that holds nothing but another's results goes with it, by `depends_on`.
const RESULTS: [(&str, &str); 2] = [("wepp", "wepppost"), ("rhem", "rhempost")];

fn row<'t>(table: &[(&str, &'t [&'t str])], task: &str) -> &'t [&'t str] {
    let found = table.iter().find(|(name, _)| *name == task);
    found.map_or(&[], |(_, row)| row)
}

fn expected(task: &str) -> BTreeSet<&'static str> {
    let mut set: BTreeSet<&str> = [row(&WRITES, task), row(&OUT_OF_DATE, task)]
        .concat()
        .into_iter()
        .collect();
    for (model, results) in RESULTS {
        if set.contains(model) {
            set.insert(results);
        }
    }
    for step in row(&FOLLOWS, task) {
        set.extend(expected(step));
    }
    set
}

fn nodb() -> Rules {
    Rules::from_path("rules/nodb.json").expect("it compiles")
}

fn run() -> Params {
    Params::new().with("run_id", "copacetic-sled")
}

#[test]
fn every_controller_and_every_task_is_there() {
    let rules = nodb();
    assert!(rules.controllers().eq(CONTROLLERS));
    assert!(rules.tasks().eq(TASKS));
    assert_eq!(rules.warnings(), []);
}

#[test]
fn every_task_expands_to_what_the_facts_say() {
    let rules = nodb();
    for task in TASKS {
        let keys = rules.expand([task], &run()).expect("it expands");
        let expected: Vec<String> = CONTROLLERS
            .iter()
            .filter(|name| expected(task).contains(*name))
            .map(|name| format!("nodb_cache:{{copacetic-sled}}:{name}"))
            .collect();
        assert!(
            keys.iter().eq(expected.iter().map(String::as_str)),
            "{task}: {keys:?}"
        );
    }
}

#[test]
fn a_save_without_tasks_deletes_results_only() {
    let rules = nodb();
    for own in CONTROLLERS {
        let keys = rules
            .expand_for(own, cachetx::NO_TASKS, &run())
            .expect("it expands");
        let expected = RESULTS.iter().filter(|(model, _)| *model == own);
        let expected: Vec<String> = expected
            .map(|(_, results)| format!("nodb_cache:{{copacetic-sled}}:{results}"))
            .collect();
        assert!(
            keys.iter().eq(expected.iter().map(String::as_str)),
            "{own}: {keys:?}"
        );
    }
}

#[test]
fn child_runs_have_keys_of_their_own() {
    let rules = nodb();
    let child = Params::new().with("run_id", "copacetic-sled;;omni;;undisturbed");
    let key = rules.key("climate", &child).expect("it is a run id");
    assert_eq!(
        key,
        "nodb_cache:{copacetic-sled;;omni;;undisturbed}:climate"
    );
    let parent = rules.expand(["project_init"], &run()).expect("it expands");
    assert!(parent.iter().all(|other| other != key));
}

#[test]
fn entries_live_for_72_hours() {
    let rules = nodb();
    for controller in CONTROLLERS {
        assert_eq!(
            rules.ttl(controller).expect("it is there"),
            Duration::from_secs(259_200)
        );
    }
}

#[test]
fn every_task_and_every_save_is_one_slot() {
    let check = nodb().slot_check();
    assert!(check.is_one());
    assert!(check.tasks.iter().map(|finding| &*finding.name).eq(TASKS));
    assert!(
        check
            .controllers
            .iter()
            .map(|finding| &*finding.name)
            .eq(CONTROLLERS)
    );
    for finding in check.tasks.iter().chain(&check.controllers) {
        let tag = Slots::One {
            tag: Some("{run_id}".to_owned()),
        };
        assert_eq!(finding.slots, tag, "{}", finding.name);
    }
    // What is proven holds for a run: one slot, which is not every run's.
    let slots = |run: &str| -> BTreeSet<u16> {
        let keys = nodb()
            .expand(TASKS, &Params::new().with("run_id", run))
            .expect("it expands");
        keys.entries().map(|entry| entry.slot).collect()
    };
    assert_eq!(slots("copacetic-sled").len(), 1);
    assert_ne!(slots("copacetic-sled"), slots("another-run"));
}

/// Version 1.0 as the platform has it: no hash tag, so its keys are spread over a Cluster's slots, and that is said.
#[test]
fn the_minimal_file_is_version_1_0() {
    let text = std::fs::read_to_string("rules/minimal.json").expect("it is there");
    let json: serde_json::Value = serde_json::from_str(&text).expect("it is JSON");
    assert_eq!(json["version"], "1.0");
    let rules = Rules::from_json(&text).expect("it compiles");
    for controller in rules.controllers() {
        let key = rules.key(controller, &run()).expect("it is there");
        assert_eq!(key, format!("nodb_cache:copacetic-sled:{controller}"));
        assert_eq!(
            rules.ttl(controller).expect("it is there"),
            Duration::from_secs(259_200)
        );
    }
    let check = rules.slot_check();
    assert!(check.tasks.iter().all(|finding| !finding.slots.is_one()));
    assert!(
        check
            .controllers
            .iter()
            .all(|finding| finding.slots == Slots::One { tag: None })
    );
}
