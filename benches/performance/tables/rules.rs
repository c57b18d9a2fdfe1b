//! What compiling and expanding rules costs.

use crate::{
    Bench,
    bed::scene::{RUN, params},
    report::Table,
    turns::{self, Figures},
};
use cachetx::{BoxError, Params, Rules};
use serde_json::{Map, Value, json};
use std::{
    fs,
    hint::black_box,
    time::{Duration, Instant},
};

/// The duration of one sample, so that the clock's own cost does not count.
const SAMPLE: Duration = Duration::from_micros(300);
const SAMPLES: usize = 400;
const COMPILED: usize = 9;
const NODB: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/rules/nodb.json");

struct Case {
    rules: Rules,
    name: &'static str,
    task: &'static str,
    params: Params,
}

pub fn table(bench: &mut Bench) -> Result<(), BoxError> {
    expand(bench)?;
    compile(bench)
}

fn expand(bench: &mut Bench) -> Result<(), BoxError> {
    bench.report.section(
        "Expanding rules",
        "In turns with the same keys made by one `format!` each, from names that stand in the program: what one would write without rules.",
    );
    let mut table = Table::new(&[
        "rules and task",
        "keys",
        "ns a key",
        "`format!`, ns a key",
        "ratio",
        "allocations",
    ]);
    let mut medians = Vec::new();
    for case in cases()? {
        let (keys, found, allocations) = case.measure(bench.rounds(SAMPLES))?;
        let each = |n: usize| found[n].median / keys as f64;
        if keys >= 8 {
            medians.push((each(1), allocations));
        }
        table.row([
            format!("{}: {}", case.name, case.task),
            keys.to_string(),
            format!("{:.1}", each(1)),
            format!("{:.1}", each(0)),
            found[1].ratio.to_string(),
            allocations.to_string(),
        ]);
    }
    let low = medians.iter().map(|m| m.0).fold(f64::INFINITY, f64::min);
    let high = medians.iter().map(|m| m.0).fold(0.0, f64::max);
    let allocations = medians.iter().map(|m| m.1).min().unwrap_or_default();
    bench.report.headline(
        "expansion of 8 keys and more",
        format!("{low:.0} to {high:.0} ns a key; {allocations} allocations, more for list params"),
    );
    bench.report.table(&table);
    Ok(())
}

fn cases() -> Result<Vec<Case>, BoxError> {
    let run = params();
    let nodb = Rules::from_path(NODB)?;
    let tasks = [
        "set_outlet",
        "build_climate",
        "abstract_watershed",
        "project_init",
    ];
    let nodb = tasks.map(|task| Case {
        rules: nodb.clone(),
        name: "nodb.json",
        task,
        params: run.clone(),
    });
    let large = Rules::from_json(&thousand())?;
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

fn controllers(count: usize) -> Map<String, Value> {
    (0..count)
        .map(|n| {
            let key = format!("nodb_cache:{{{{{{run_id}}}}}}:controller_{n:04}");
            (format!("controller_{n:04}"), key.into())
        })
        .collect()
}

/// Five controllers, starting with number `first`, of `of`.
fn five(first: usize, of: usize) -> Value {
    let names = (first..first + 5).map(|n| format!("controller_{:04}", n % of).into());
    Value::Array(names.collect())
}

/// 1,000 controllers. One task names them all, one reaches half of them by including a hundred
/// other tasks, and one has a controller with two placeholders.
fn thousand() -> String {
    let mut keys = controllers(1_000);
    keys.insert(
        "omni".to_owned(),
        "nodb_cache:{{{run_id}}}:{scenario}:omni".into(),
    );
    let links = (0..100).map(|n| {
        let rule = json!({ "invalidates_cache": five(5 * n, 1_000) });
        (format!("link_{n}"), rule)
    });
    let mut rules: Map<String, Value> = links.collect();
    let included: Vec<String> = rules.keys().cloned().collect();
    let chain = json!({ "invalidates_cache": [], "includes": included });
    let all = json!({ "invalidates_cache": ["*"], "except": ["omni"] });
    rules.insert("chain".to_owned(), chain);
    rules.insert("all".to_owned(), all);
    rules.insert(
        "scenarios".to_owned(),
        json!({ "invalidates_cache": ["omni"] }),
    );
    json!({ "version": "1.1", "cache_keys": keys, "rules": rules }).to_string()
}

impl Case {
    /// The number of keys, the ns of an expansion by `format!` and by the rules, and the
    /// allocations of the latter.
    fn measure(&self, samples: usize) -> Result<(usize, Vec<Figures>, u64), BoxError> {
        let expand = || self.rules.expand([self.task], black_box(&self.params));
        let keys = expand()?;
        // The hand-written program has the last part of each key as its names.
        let prefix = format!("nodb_cache:{{{RUN}}}:");
        let names: Vec<&str> = keys.iter().map(|key| &key[prefix.len()..]).collect();
        let by_hand = || -> Vec<String> {
            let run = black_box(RUN);
            let keys = names
                .iter()
                .map(|name| format!("nodb_cache:{{{run}}}:{name}"));
            keys.collect()
        };
        assert!(keys.iter().eq(by_hand()));
        let allocated = allocation_counter::measure(|| drop(black_box(expand())));
        let calls: [&dyn Fn(); 2] = [&|| drop(black_box(by_hand())), &|| {
            drop(black_box(expand()))
        }];
        let counts = calls.map(calls_in_a_sample);
        let found = turns::in_turns(2, samples, |n| Ok(time(calls[n], counts[n])))?;
        Ok((keys.len(), found, allocated.count_total))
    }
}

fn calls_in_a_sample(call: &dyn Fn()) -> u32 {
    let mut calls = 1_u32;
    while time(call, calls) * f64::from(calls) < SAMPLE.as_secs_f64() * 1e9 {
        calls *= 2;
    }
    calls
}

/// Ns of each of `calls` calls.
fn time(call: &dyn Fn(), calls: u32) -> f64 {
    let start = Instant::now();
    (0..calls).for_each(|_| call());
    start.elapsed().as_secs_f64() * 1e9 / f64::from(calls)
}

fn compile(bench: &mut Bench) -> Result<(), BoxError> {
    bench.report.section(
        "Compiling rules",
        "From the text of a file, checks of all pairs of keys included. In the generated files each rule names five controllers.",
    );
    let mut table = Table::new(&["rules", "controllers", "rules in it", "ms"]);
    let nodb = fs::read_to_string(NODB)?;
    let files = [
        ("rules/nodb.json", nodb),
        ("generated", generated(500, 1_000)),
        ("generated", generated(1_000, 2_000)),
        ("generated", generated(2_000, 4_000)),
        ("generated, 10,000 rules", generated(2_000, 10_000)),
    ];
    for (name, text) in files {
        let Ok(rules) = Rules::from_json(&text) else {
            let over = "more than the limits allow".to_owned();
            table.row([name.to_owned(), String::new(), String::new(), over]);
            continue;
        };
        let (controllers, tasks) = (rules.controllers().len(), rules.tasks().len());
        let times = (0..bench.rounds(COMPILED)).map(|_| {
            let start = Instant::now();
            black_box(Rules::from_json(black_box(&text)))?;
            Ok(start.elapsed().as_secs_f64() * 1e3)
        });
        let median = turns::median(times.collect::<Result<_, BoxError>>()?);
        let what = format!("compile {name}: {controllers} controllers, {tasks} rules");
        bench.report.headline(what, format!("{median:.2} ms"));
        table.row([
            name.to_owned(),
            controllers.to_string(),
            tasks.to_string(),
            format!("{median:.2}"),
        ]);
    }
    bench.report.table(&table);
    Ok(())
}

fn generated(controllers_count: usize, rules: usize) -> String {
    let rules = (0..rules).map(|n| {
        let rule = json!({ "invalidates_cache": five(7 * n, controllers_count) });
        (format!("task_{n:05}"), rule)
    });
    let rules: Map<String, Value> = rules.collect();
    json!({ "version": "1.0", "cache_keys": controllers(controllers_count), "rules": rules })
        .to_string()
}
