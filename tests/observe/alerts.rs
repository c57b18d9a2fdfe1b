//! Each alert of examples/monitoring fires by a real fault: what is scraped before and after it goes through Prometheus's own `promtool test rules`.

use crate::{
    bed::{Bed, Way, add, run},
    support::{self, Climate, RUN, World, skipped, until},
};
use cachetx::{Cache, Store, observe::Metrics, testing::Proxy};
use metrics_exporter_prometheus::{PrometheusBuilder, PrometheusHandle};
use serde_json::{Value, json};
use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
    process::Command,
    thread,
    time::Duration,
};

/// The scrape before the fault is there for so long, then the one after it.
const BEFORE_MINUTES: u32 = 5;
/// How long after the fault an alert fires that waits for nothing.
const SOON: u32 = 1;

fn promtool() -> Option<PathBuf> {
    let fetched = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/promtool/usr/bin/promtool");
    let mut candidates = [PathBuf::from("promtool"), fetched].into_iter();
    candidates.find(|tool| {
        let asked = Command::new(tool).arg("--version").output();
        asked.is_ok_and(|done| done.status.success())
    })
}

type Scrape = BTreeMap<String, String>;

fn scrape(prometheus: &PrometheusHandle, cache: &Cache) -> Scrape {
    Metrics::poll(&cache.stats());
    let text = prometheus.render();
    let lines = text.lines().filter(|line| !line.starts_with('#'));
    let series = lines.filter_map(|line| line.rsplit_once(' '));
    series
        .map(|(series, value)| {
            let (name, labels) = series.split_once('{').unwrap_or((series, "}"));
            let series = format!("{name}{{job=\"shop\",instance=\"one\",{labels}");
            (series, value.to_owned())
        })
        .collect()
}

/// A fault, and the alerts that have to fire because of it, with the minutes that they wait.
struct Fault {
    alerts: &'static [(&'static str, u32)],
    before: Scrape,
    after: Scrape,
}

fn fault(
    prometheus: &PrometheusHandle,
    alerts: &'static [(&'static str, u32)],
    cache: &Cache,
    happens: impl FnOnce(),
) -> Fault {
    let before = scrape(prometheus, cache);
    happens();
    Fault {
        alerts,
        before,
        after: scrape(prometheus, cache),
    }
}

impl Fault {
    /// As a test of promtool: none of the alerts fires before, all of them do after.
    fn test(&self) -> Value {
        let names: BTreeSet<_> = self.before.keys().chain(self.after.keys()).collect();
        let series = names.into_iter().map(|name| {
            let minutes = |value: Option<&String>, minutes: u32| match value {
                Some(value) => format!("{value}x{}", minutes * 4 - 1),
                None => format!("_x{}", minutes * 4 - 1),
            };
            let before = minutes(self.before.get(name), BEFORE_MINUTES);
            let after = minutes(self.after.get(name), 30);
            json!({ "series": name, "values": format!("{before} {after}") })
        });
        let questions = self.alerts.iter().flat_map(|(alert, wait)| {
            let expression =
                format!("group by (alertname) (ALERTS{{alertname=\"{alert}\",alertstate=\"firing\"}})");
            let fires = json!([{ "labels": format!("{{alertname=\"{alert}\"}}"), "value": 1 }]);
            let at = |minute: u32, samples: Value| {
                json!({ "expr": expression, "eval_time": format!("{minute}m"), "exp_samples": samples })
            };
            [
                at(BEFORE_MINUTES - 1, json!([])),
                at(BEFORE_MINUTES + SOON + wait, fires),
            ]
        });
        json!({
            "interval": "15s",
            "input_series": series.collect::<Vec<_>>(),
            "promql_expr_test": questions.collect::<Vec<_>>(),
        })
    }
}

/// A bed whose events are counted.
fn counted(cache: impl FnOnce(cachetx::CacheBuilder) -> cachetx::CacheBuilder) -> Bed {
    Bed::with(
        Way::Threads,
        |builder| cache(builder).observer(Metrics::new()),
        |store| store,
    )
    .made()
}

const TIMEOUT: Duration = Duration::from_millis(200);

fn impatient(cache: cachetx::CacheBuilder) -> cachetx::CacheBuilder {
    cache.connect_timeout(TIMEOUT).response_timeout(TIMEOUT)
}

fn faults(prometheus: &PrometheusHandle) -> Vec<Fault> {
    vec![
        server_away(prometheus),
        server_away_without_outbox(prometheus),
        lock_held(prometheus),
        foreign_writer(prometheus),
        lock_cleared(prometheus),
        old_snapshot(prometheus),
        damaged_outbox(prometheus),
        broken_rules(prometheus),
        no_connection_left(prometheus),
        slow_server(prometheus),
    ]
}

/// It halts, and answers nothing.
fn server_away(prometheus: &PrometheusHandle) -> Fault {
    let alerts = &[
        ("CachetxBreakerOpen", 1),
        ("CachetxOutboxGrowing", 0),
        ("CachetxOutboxOld", 5),
    ];
    let bed = counted(|cache| impatient(cache).circuit_breaker(Duration::from_secs(3_600)));
    let fault = fault(prometheus, alerts, bed.cache(), || {
        bed.world.server.pause().expect("halted");
        (0..20).for_each(|_| drop(bed.invalidate()));
    });
    bed.world.server.resume().expect("goes on");
    bed.replay();
    scrape(prometheus, bed.cache());
    fault
}

fn server_away_without_outbox(prometheus: &PrometheusHandle) -> Fault {
    let mut world = World::start();
    let cache = world.cache_builder().observer(Metrics::new()).open();
    let cache = cache.expect("a cache");
    let fault = fault(prometheus, &[("CachetxUnrecorded", 0)], &cache, || {
        world.server.kill();
        let outcome = cache.invalidate(["build_climate"], &run());
        assert_eq!(outcome.expect("no mistake").as_str(), "unrecorded");
    });
    world.server.restart().expect("back");
    cache.replay_outbox().expect("no bug");
    scrape(prometheus, &cache);
    fault
}

fn lock_held(prometheus: &PrometheusHandle) -> Fault {
    let bed = counted(|cache| cache);
    fault(
        prometheus,
        &[("CachetxLockTimeouts", 0)],
        bed.cache(),
        || {
            let other = bed.world.store();
            let _held = bed.world.climate(&other).lock().expect("locked");
            assert!(bed.try_lock().is_err_and(|e| e.is_lock_held()));
        },
    )
}

/// It writes the file without a lock, again and again.
fn foreign_writer(prometheus: &PrometheusHandle) -> Fault {
    let bed = counted(|cache| cache);
    let file = bed.world.file();
    fault(prometheus, &[("CachetxConflicts", 0)], bed.cache(), || {
        bed.world.settle();
        let mut left = 1;
        let overtaken = move |climate: &mut Climate| {
            if left > 0 {
                left -= 1;
                fs::write(&file, Climate::of(7).bytes())?;
            }
            add(climate)
        };
        bed.update(overtaken).expect("updated at the second try");
    })
}

fn lock_cleared(prometheus: &PrometheusHandle) -> Fault {
    let bed = counted(|cache| cache);
    let alerts = &[("CachetxLocksLost", 0), ("CachetxSavesRefused", 0)];
    fault(prometheus, alerts, bed.cache(), || {
        let cleared = || {
            bed.world.store().clear_locks(RUN).expect("cleared");
            until("it is found lost", || bed.cache().stats().locks_lost == 1);
        };
        assert!(bed.save(cleared).is_err_and(|e| e.is_lock_lost()));
    })
}

fn old_snapshot(prometheus: &PrometheusHandle) -> Fault {
    let mut bed = counted(|cache| cache);
    let cache = bed.cache().clone();
    fault(prometheus, &[("CachetxEcho", 0)], &cache, || {
        redis::cmd("SAVE")
            .exec(&mut bed.world.redis())
            .expect("a snapshot");
        bed.save(|| {}).expect("saved");
        bed.world.server.kill();
        bed.world.server.restart().expect("back");
        bed.ask();
        until("it is another server", || cache.stats().echoes == 1);
    })
}

/// As a disk may leave a dead process's.
fn damaged_outbox(prometheus: &PrometheusHandle) -> Fault {
    let bed = counted(|cache| cache);
    fault(
        prometheus,
        &[("CachetxPoisonRecords", 0)],
        bed.cache(),
        || {
            let folder = bed.world.root.path().join(".cachetx-outbox");
            fs::create_dir_all(&folder).expect("a folder");
            fs::write(folder.join("0123456789abcdef.outbox"), "1 0 {}\n").expect("written");
            until("it is set aside", || {
                bed.cache().stats().outbox_set_aside > 0
            });
        },
    )
}

fn broken_rules(prometheus: &PrometheusHandle) -> Fault {
    let bed = counted(|cache| cache);
    fault(
        prometheus,
        &[("CachetxRulesRefused", 0)],
        bed.cache(),
        || {
            let foreign = support::RULES.replace("soils", "sand");
            assert!(bed.replace_rules(&foreign).is_err_and(|e| e.is_config()));
        },
    )
}

/// The only one waits for a server that halts.
fn no_connection_left(prometheus: &PrometheusHandle) -> Fault {
    let patient = |cache: cachetx::CacheBuilder| {
        impatient(cache)
            .pool_size(1)
            .circuit_breaker(Duration::ZERO)
    };
    let bed = counted(patient);
    let fault = fault(
        prometheus,
        &[("CachetxConnectionsExhausted", 0)],
        bed.cache(),
        || {
            bed.world.server.pause().expect("halted");
            thread::scope(|scope| {
                (0..8).for_each(|_| drop(scope.spawn(|| bed.invalidate())));
            });
        },
    );
    bed.world.server.resume().expect("goes on");
    fault
}

fn slow_server(prometheus: &PrometheusHandle) -> Fault {
    let world = World::start();
    let slow = Proxy::start(world.server.port()).expect("a proxy");
    let cache = support::cache_builder()
        .url(slow.url())
        .observer(Metrics::new())
        .open()
        .expect("a cache");
    let store = Store::builder(&cache)
        .root(world.root.path())
        .open()
        .expect("a store");
    let document = store.document(RUN, "climate").expect("a document");
    document.create(&Climate::of(1)).expect("made");
    fault(prometheus, &[("CachetxSlowSaves", 0)], &cache, || {
        let held = document.lock().expect("locked");
        slow.delay_replies(Duration::from_millis(1_100));
        held.dump_and_unlock().expect("saved");
        slow.delay_replies(Duration::ZERO);
    })
}

#[test]
fn each_alert_fires_by_a_real_fault() {
    let Some(promtool) = promtool() else {
        skipped(
            "each_alert_fires_by_a_real_fault",
            "no promtool: run `make promtool`",
        );
        return;
    };
    let rules = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/monitoring/alerts.yml");
    let check = |arguments: &[&str], file: &Path| {
        let done = Command::new(&promtool).args(arguments).arg(file).output();
        let done = done.expect("it runs");
        let said = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let said = said(&done.stdout) + &said(&done.stderr);
        assert!(done.status.success(), "promtool {arguments:?}: {said}");
    };
    check(&["check", "rules"], &rules);

    let prometheus = PrometheusBuilder::new()
        .set_buckets(&Metrics::BUCKETS_SECONDS)
        .and_then(PrometheusBuilder::install_recorder)
        .expect("the only one of this process");
    let faults = faults(&prometheus);

    let text = fs::read_to_string(&rules).expect("read");
    let named = text
        .lines()
        .filter_map(|line| line.trim().strip_prefix("- alert: "));
    let fired = faults
        .iter()
        .flat_map(|fault| fault.alerts)
        .map(|alert| alert.0);
    assert_eq!(
        named.collect::<BTreeSet<_>>(),
        fired.collect::<BTreeSet<_>>()
    );

    let tests: Vec<Value> = faults.iter().map(Fault::test).collect();
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("faults.yml");
    let suite = json!({ "rule_files": [rules], "evaluation_interval": "15s", "tests": tests });
    fs::write(&file, suite.to_string()).expect("written");
    check(&["test", "rules"], &file);
}
