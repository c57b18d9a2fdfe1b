//! Spans of threads and of many tasks at once: each below the one that its caller was in.

use crate::support::{Climate, World};
use cachetx::{Document, Params, Store, aio};
use std::{
    collections::HashMap,
    fmt,
    sync::{LazyLock, Mutex, MutexGuard, PoisonError},
};
use tokio::runtime::Builder;
use tracing::{
    Instrument as _, Span, Subscriber,
    field::{Field, Visit},
    info_span,
    span::{Attributes, Id, Record},
};
use tracing_subscriber::{
    Layer,
    layer::{Context, SubscriberExt as _},
    registry::LookupSpan,
};

#[derive(Clone, Debug, Default)]
struct Seen {
    name: &'static str,
    parent: Option<u64>,
    fields: HashMap<&'static str, String>,
}

impl Visit for Seen {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.fields
            .insert(field.name(), format!("{value:?}").replace('"', ""));
    }
}

static SEEN: LazyLock<Mutex<HashMap<u64, Seen>>> = LazyLock::new(|| {
    let subscriber = tracing_subscriber::registry().with(Recorder);
    tracing::subscriber::set_global_default(subscriber).expect("the only one");
    Mutex::default()
});

fn seen() -> MutexGuard<'static, HashMap<u64, Seen>> {
    SEEN.lock().unwrap_or_else(PoisonError::into_inner)
}

struct Recorder;

/// Ids are used again, so those of spans that are over are not enough to name one.
#[derive(Clone, Copy)]
struct Number(u64);

impl<S: Subscriber + for<'a> LookupSpan<'a>> Layer<S> for Recorder {
    fn on_new_span(&self, attributes: &Attributes<'_>, id: &Id, context: Context<'_, S>) {
        let span = context.span(id).expect("a new one");
        let number = |span: &tracing_subscriber::registry::SpanRef<'_, S>| {
            span.extensions().get::<Number>().map(|number| number.0)
        };
        let mut new = Seen {
            name: attributes.metadata().name(),
            parent: span.parent().and_then(|parent| number(&parent)),
            ..Seen::default()
        };
        attributes.record(&mut new);
        let mut all = seen();
        let own = all.len() as u64;
        all.insert(own, new);
        span.extensions_mut().insert(Number(own));
    }

    fn on_record(&self, id: &Id, values: &Record<'_>, context: Context<'_, S>) {
        let span = context.span(id).expect("it is there");
        let number = span.extensions().get::<Number>().map(|number| number.0);
        let mut all = seen();
        if let Some(known) = number.and_then(|number| all.get_mut(&number)) {
            values.record(known);
        }
    }
}

/// What is below the span with this number, as `parent > name field=value …`, in the order in which it began.
fn below(root: &str) -> Vec<String> {
    let all = seen().clone();
    let mut numbers: Vec<_> = all.keys().copied().collect();
    numbers.sort_unstable();
    let is_below = |number: u64| {
        let mut at = all.get(&number).and_then(|span| span.parent);
        while let Some(number) = at {
            let span = &all[&number];
            if span.fields.get("root").is_some_and(|it| it == root) {
                return true;
            }
            at = span.parent;
        }
        false
    };
    let shown = |number: &u64| {
        let span = &all[number];
        let parent = all[&span.parent.expect("it is below another")].name;
        let mut fields: Vec<_> = span
            .fields
            .iter()
            .map(|(name, value)| format!("{name}={value}"))
            .collect();
        fields.sort();
        format!("{parent} > {} {}", span.name, fields.join(" "))
    };
    numbers
        .iter()
        .filter(|number| is_below(**number))
        .map(shown)
        .collect()
}

fn expected(run: &str) -> Vec<String> {
    let key = format!("nodb_cache:{{{run}}}:wepp");
    [
        format!("caller > cachetx.lock document={run}/climate outcome=acquired"),
        "cachetx.lock > cachetx.request operation=Acquire".to_owned(),
        format!("caller > cachetx.save document={run}/climate kind=save outcome=committed tasks=[build_climate]"),
        "cachetx.save > cachetx.request operation=Commit".to_owned(),
        format!("caller > cachetx.save document={run}/climate kind=update outcome=committed tasks=[]"),
        "cachetx.save > cachetx.request operation=Holders".to_owned(),
        "cachetx.save > cachetx.request operation=Commit".to_owned(),
        format!("caller > cachetx.load controller=wepp key={key} outcome=filled"),
        "cachetx.load > cachetx.request operation=Read".to_owned(),
        "cachetx.load > cachetx.request operation=Lease".to_owned(),
        "cachetx.load > cachetx.request operation=Fill".to_owned(),
    ]
    .into()
}

fn document(store: &Store, run: &str) -> Document<Climate> {
    let document = store.document(run, "climate").expect("a document");
    document.create(&Climate::of(1)).expect("made");
    document
}

fn caller(root: &str) -> Span {
    drop(seen());
    info_span!("caller", root)
}

fn params(run: &str) -> Params {
    Params::new().with("run_id", run)
}

#[test]
fn a_thread_s_spans_are_below_its_own() {
    let world = World::start();
    let store = world.store();
    let document = document(&store, "of-a-thread");
    caller("of-a-thread").in_scope(|| {
        let held = document.lock().expect("locked");
        held.dump_and_unlock_with_transaction(["build_climate"])
            .expect("saved");
        document
            .update(cachetx::NO_TASKS, crate::bed::add)
            .expect("updated");
        let load = || Ok(Vec::new());
        store
            .cache()
            .get_or_load("wepp", &params("of-a-thread"), load)
            .expect("loaded");
    });
    assert_eq!(below("of-a-thread"), expected("of-a-thread"));
}

/// All of them in one thread, so that a span that one left entered while it waits would be others' parent.
#[test]
fn many_tasks_keep_their_spans_apart() {
    let world = World::start();
    let store = world.store();
    let runtime = Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime");
    let runs: Vec<_> = (0..16).map(|n| format!("of-task-{n}")).collect();
    let tasks: Vec<_> = runs
        .iter()
        .map(|run| {
            let document: aio::Document<Climate> = document(&store, run).into();
            let (cache, params) = (aio::Cache::from(store.cache().clone()), params(run));
            let work = async move {
                let held = document.lock().await.expect("locked");
                tokio::task::yield_now().await;
                held.dump_and_unlock_with_transaction(["build_climate"])
                    .await
                    .expect("saved");
                document
                    .update(cachetx::NO_TASKS, crate::bed::add)
                    .await
                    .expect("updated");
                let load = || async {
                    tokio::task::yield_now().await;
                    Ok(Vec::new())
                };
                cache
                    .get_or_load("wepp", &params, load)
                    .await
                    .expect("loaded");
            };
            work.instrument(caller(run))
        })
        .collect();
    runtime.block_on(async {
        let spawned: Vec<_> = tasks.into_iter().map(tokio::spawn).collect();
        for task in spawned {
            task.await.expect("no panic");
        }
    });
    for run in runs {
        assert_eq!(below(&run), expected(&run));
    }
}
