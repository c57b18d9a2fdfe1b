//! The table of metrics, against the code that records them and all that uses their names.

use crate::bed::run;
use cachetx::{
    Cache,
    observe::{Metric, MetricKind, Metrics},
};
use metrics_exporter_prometheus::{PrometheusBuilder, PrometheusHandle};
use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::Path,
};

fn read(path: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(path);
    fs::read_to_string(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
}

fn named(name: &str) -> Option<&'static Metric> {
    Metrics::TABLE.iter().find(|metric| metric.name == name)
}

/// Names and their labels, of what was scraped.
fn scraped(prometheus: &PrometheusHandle) -> BTreeMap<String, BTreeSet<String>> {
    let mut found = BTreeMap::<String, BTreeSet<String>>::new();
    for line in prometheus
        .render()
        .lines()
        .filter(|line| !line.starts_with('#'))
    {
        let Some((series, _)) = line.rsplit_once(' ') else {
            continue;
        };
        let (name, labels) = series.split_once('{').unwrap_or((series, ""));
        let labels = labels.trim_end_matches('}').split(',');
        let labels = labels.filter_map(|label| label.split_once('=').map(|it| it.0));
        let suffixes = ["_bucket", "_sum", "_count"];
        let base = suffixes.iter().find_map(|suffix| name.strip_suffix(suffix));
        let name = base.filter(|base| named(base).is_some()).unwrap_or(name);
        let labels = labels.filter(|label| *label != "le").map(str::to_owned);
        found.entry(name.to_owned()).or_default().extend(labels);
    }
    found
}

#[test]
fn what_is_recorded_is_what_the_table_says() {
    let builder = PrometheusBuilder::new();
    let recorder = builder
        .set_buckets(&Metrics::BUCKETS_SECONDS)
        .expect("some")
        .build_recorder();
    let prometheus = recorder.handle();
    ::metrics::with_local_recorder(&recorder, || {
        let root = tempfile::tempdir().expect("a folder");
        let cache = Cache::builder(crate::support::rules())
            .in_memory()
            .observer(Metrics::new())
            .open()
            .expect("a cache");
        let before = scraped(&prometheus);
        let counters = Metrics::TABLE.iter().filter(|metric| {
            metric.kind == MetricKind::Counter && !metric.what.ends_with("Polled.")
        });
        for metric in counters {
            assert!(
                before.contains_key(metric.name),
                "{} is not 0 at first",
                metric.name
            );
        }
        let store = cachetx::Store::builder(&cache)
            .root(root.path())
            .open()
            .expect("a store");
        let document = store
            .document(crate::support::RUN, "climate")
            .expect("a document");
        document
            .create(&crate::support::Climate::of(1))
            .expect("made");
        cache
            .get_or_load("wepp", &run(), || Ok(Vec::new()))
            .expect("loaded");
        Metrics::poll(&cache.stats());
    });
    let table = Metrics::TABLE.iter().map(|metric| {
        let labels = metric.labels.iter().map(|&label| label.to_owned());
        (metric.name.to_owned(), labels.collect())
    });
    assert_eq!(scraped(&prometheus), table.collect());
    for metric in Metrics::TABLE {
        let unit = ["_total", "_seconds", "_records", "_open", "_idle"];
        assert!(
            unit.iter().any(|unit| metric.name.ends_with(unit)),
            "{}",
            metric.name
        );
        assert_eq!(
            metric.kind == MetricKind::Counter,
            metric.name.ends_with("_total")
        );
    }
}

fn row(metric: &Metric) -> String {
    let kind = format!("{:?}", metric.kind).to_lowercase();
    let labels: Vec<_> = metric
        .labels
        .iter()
        .map(|label| format!("`{label}`"))
        .collect();
    format!(
        "| `{}` | {kind} | {} | {} |",
        metric.name,
        labels.join(", "),
        metric.what
    )
}

#[test]
fn the_docs_have_the_table() {
    const FILE: &str = "docs/operations.md";
    let text = read(FILE);
    let found: Vec<_> = text
        .lines()
        .filter(|line| line.starts_with("| `cachetx_"))
        .collect();
    let rows: Vec<_> = Metrics::TABLE.iter().map(row).collect();
    if std::env::var_os("CACHETX_BLESS").is_some() {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(FILE);
        let head = "| metric | kind | labels | what |\n| --- | --- | --- | --- |\n";
        let (before, after) = text.split_once(head).expect("a table");
        let after = after
            .lines()
            .skip_while(|line| line.starts_with("| `cachetx_"));
        let after: Vec<_> = after.collect();
        let written = format!("{before}{head}{}\n{}\n", rows.join("\n"), after.join("\n"));
        fs::write(path, written).expect("written");
        return;
    }
    assert_eq!(found, rows, "CACHETX_BLESS=1 writes the table");
}

/// Every word in it that looks like one of our metrics.
fn names(text: &str) -> BTreeSet<&str> {
    let words = text.split(|c: char| !(c.is_ascii_alphanumeric() || c == '_'));
    words.filter(|word| word.starts_with("cachetx_")).collect()
}

#[test]
fn dashboard_and_alerts_use_names_of_the_table() {
    let dashboard = read("examples/monitoring/dashboard.json");
    let parsed: serde_json::Value = serde_json::from_str(&dashboard).expect("it is JSON");
    let panels = parsed["panels"].as_array().expect("panels");
    let expressions = panels.iter().flat_map(|panel| {
        let targets = panel["targets"].as_array().expect("targets");
        targets
            .iter()
            .map(|target| target["expr"].as_str().expect("an expression"))
    });
    let expressions: Vec<_> = expressions.collect();
    let alerts = read("examples/monitoring/alerts.yml");
    let mut used = BTreeSet::new();
    for text in expressions.into_iter().chain([&*alerts]) {
        assert!(!names(text).is_empty(), "{text}");
        for name in names(text) {
            let of_histogram = name.strip_suffix("_bucket").and_then(named);
            let metric =
                of_histogram.or_else(|| named(name).filter(|it| it.kind != MetricKind::Histogram));
            used.insert(
                metric
                    .unwrap_or_else(|| panic!("{name} is not in the table"))
                    .name,
            );
        }
    }
    let unused = Metrics::TABLE
        .iter()
        .filter(|metric| !used.contains(metric.name));
    assert_eq!(unused.count(), 0, "the dashboard shows all metrics");
}
