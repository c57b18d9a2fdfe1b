//! What an expansion costs: time for each key, and allocations. Beside it, in turns, the same keys made by one `format!`
//! each from names that stand in the program: what one would write without rules.
//!
//! Without `--bench`, which cargo gives to a bench only, every case runs a few times: to see that it works.

use cachetx::{BoxError, Params, Rules};
use std::{
    env,
    hint::black_box,
    time::{Duration, Instant},
};

/// How long one sample runs, so that the clock's own cost does not count.
const SAMPLE: Duration = Duration::from_micros(500);
const SAMPLES: usize = 1_000;
const SHORT: usize = 3;
const RUN: &str = "copacetic-sled";

struct Case {
    rules: Rules,
    name: &'static str,
    task: &'static str,
    params: Params,
}

fn main() -> Result<(), BoxError> {
    let long = env::args().any(|arg| arg == "--bench");
    let samples = if long { SAMPLES } else { SHORT };
    println!(
        "{:<34} {:>6} {:>12} {:>12} {:>15} {:>12}",
        "rules and task", "keys", "ns a key", "format! ns", "ns an expansion", "allocations"
    );
    for case in cases()? {
        case.run(samples)?;
    }
    Ok(())
}

fn cases() -> Result<Vec<Case>, BoxError> {
    let run = Params::new().with("run_id", RUN);
    let nodb = Rules::from_path(concat!(env!("CARGO_MANIFEST_DIR"), "/rules/nodb.json"))?;
    let nodb = [
        "set_outlet",
        "build_climate",
        "abstract_watershed",
        "project_init",
    ]
    .map(|task| Case {
        rules: nodb.clone(),
        name: "nodb.json",
        task,
        params: run.clone(),
    });
    let large = large()?;
    let scenarios: Vec<String> = (0..1_000).map(|n| format!("scenario-{n}")).collect();
    let large = [
        ("1,000 controllers", "all", run.clone()),
        ("1,000 controllers", "chain", run.clone()),
        (
            "1,000 values of a param",
            "scenarios",
            run.with("scenario", scenarios),
        ),
    ]
    .map(|(name, task, params)| Case {
        rules: large.clone(),
        name,
        task,
        params,
    });
    Ok(nodb.into_iter().chain(large).collect())
}

/// 1,000 controllers; one task names them all, one reaches half of them by including a hundred others, and one has a
/// controller of two placeholders.
fn large() -> Result<Rules, BoxError> {
    let controllers = (0..1_000).map(|n| format!("controller_{n:04}"));
    let keys = controllers.map(|name| {
        let key = format!("nodb_cache:{{{{{{run_id}}}}}}:{name}");
        (name, key.into())
    });
    let scenario = "nodb_cache:{{{run_id}}}:{scenario}:omni";
    let scenario = ("omni".to_owned(), scenario.into());
    let keys: serde_json::Map<String, serde_json::Value> = keys.chain([scenario]).collect();
    let names = |from: usize| -> Vec<String> {
        (from..from + 5)
            .map(|n| format!("controller_{n:04}"))
            .collect()
    };
    let links = (0..100).map(|n| {
        let rule = serde_json::json!({ "invalidates_cache": names(5 * n) });
        (format!("link_{n}"), rule)
    });
    let mut rules: serde_json::Map<String, serde_json::Value> = links.collect();
    let included: Vec<String> = rules.keys().cloned().collect();
    rules.insert(
        "chain".to_owned(),
        serde_json::json!({ "invalidates_cache": [], "includes": included }),
    );
    rules.insert(
        "all".to_owned(),
        serde_json::json!({ "invalidates_cache": ["*"], "except": ["omni"] }),
    );
    rules.insert(
        "scenarios".to_owned(),
        serde_json::json!({ "invalidates_cache": ["omni"] }),
    );
    let text = serde_json::json!({ "version": "1.1", "cache_keys": keys, "rules": rules });
    Ok(Rules::from_json(&text.to_string())?)
}

impl Case {
    fn run(&self, samples: usize) -> Result<(), BoxError> {
        let expand = || self.rules.expand([self.task], black_box(&self.params));
        let keys = expand()?;
        let count = keys.len();
        // The last part of each key is what the hand-written program has as its names.
        let prefix = format!("nodb_cache:{{{RUN}}}:");
        let names: Vec<String> = keys
            .iter()
            .map(|key| key[prefix.len()..].to_owned())
            .collect();
        let by_hand = || -> Vec<String> {
            let run = black_box(RUN);
            names
                .iter()
                .map(|name| format!("nodb_cache:{{{run}}}:{name}"))
                .collect()
        };
        assert!(keys.iter().eq(by_hand()));

        let allocated = allocation_counter::measure(|| drop(black_box(expand())));
        let (ours, formatted) = in_turns(
            samples,
            || drop(black_box(expand())),
            || drop(black_box(by_hand())),
        );
        println!(
            "{:<34} {count:>6} {:>12.1} {:>12.1} {ours:>15.0} {:>12}",
            format!("{}: {}", self.name, self.task),
            ours / count as f64,
            formatted / count as f64,
            allocated.count_total,
        );
        Ok(())
    }
}

/// Medians in ns for one call of each.
fn in_turns(samples: usize, a: impl Fn(), b: impl Fn()) -> (f64, f64) {
    let (calls_a, calls_b) = (calls_in_a_sample(&a), calls_in_a_sample(&b));
    let (mut times_a, mut times_b) = (Vec::new(), Vec::new());
    for _ in 0..samples {
        times_a.push(time(&a, calls_a));
        times_b.push(time(&b, calls_b));
    }
    (median(times_a), median(times_b))
}

fn calls_in_a_sample(call: &impl Fn()) -> u32 {
    let mut calls = 1_u32;
    while time(call, calls) * f64::from(calls) < SAMPLE.as_secs_f64() * 1e9 {
        calls *= 2;
    }
    calls
}

/// Ns for one of so many calls.
fn time(call: &impl Fn(), calls: u32) -> f64 {
    let start = Instant::now();
    (0..calls).for_each(|_| call());
    start.elapsed().as_secs_f64() * 1e9 / f64::from(calls)
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}
