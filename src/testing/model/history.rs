//! Random steps, and what they do to a cache on the in-memory server.

use super::{
    plan::{Change, Plan},
    truth::{Truth, Wanted},
};
use crate::{
    cache::Cache,
    model::{Entry, Error, Result, Stamp, error::Kind, token},
    op::{Commit, CommitReply, Own, keys},
    rules::{KeyList, ParamValue, Params},
    testing::check::{letters, shown},
};
use proptest::{prelude::*, sample::select};
use std::collections::{BTreeMap, BTreeSet};

#[derive(Clone, Debug)]
pub(super) enum Step {
    Load { controller: String, params: Params },
    Change { change: Change, params: Params },
}

impl Step {
    fn params(&self) -> &Params {
        match self {
            Self::Load { params, .. } | Self::Change { params, .. } => params,
        }
    }
}

/// Steps for a plan: loads of every controller that is not a document, and the changes.
pub(super) fn steps(plan: &Plan) -> impl Strategy<Value = Vec<Step>> + use<> {
    let is_document = |name: &&str| {
        plan.changes
            .iter()
            .any(|c| c.is_document && c.name == *name)
    };
    let derived: Vec<String> = plan
        .rules
        .controllers()
        .filter(|name| !is_document(name))
        .map(str::to_owned)
        .collect();
    let params = params(plan).boxed();
    let mut kinds = Vec::new();
    if !derived.is_empty() {
        let load = (select(derived), params.clone());
        kinds.push(
            load.prop_map(|(controller, params)| Step::Load { controller, params })
                .boxed(),
        );
    }
    if !plan.changes.is_empty() {
        let change = (select(plan.changes.clone()), params);
        kinds.push(
            change
                .prop_map(|(change, params)| Step::Change { change, params })
                .boxed(),
        );
    }
    match kinds.is_empty() {
        true => Just(Vec::new()).boxed(),
        false => prop::collection::vec(prop::strategy::Union::new(kinds), 1..=plan.steps).boxed(),
    }
}

/// One of two values for each param.
fn params(plan: &Plan) -> impl Strategy<Value = Params> + use<> {
    let values = values(plan).into_iter();
    let each: Vec<_> = values
        .map(|(name, values)| (Just(name), select(values.to_vec())))
        .collect();
    each.prop_map(Params::from_iter)
}

/// The two values of each param: enough to tell two runs apart.
fn values(plan: &Plan) -> BTreeMap<String, [String; 2]> {
    let two = |values: Vec<char>| [values[0].to_string(), values[1].to_string()];
    let mut values: BTreeMap<String, [String; 2]> = letters(&plan.rules)
        .into_iter()
        .map(|(name, values)| (name.to_owned(), two(values)))
        .collect();
    let names: BTreeSet<&String> = plan.changes.iter().flat_map(|c| &c.params).collect();
    for name in names {
        values
            .entry(name.clone())
            .or_insert_with(|| two(vec!['a', 'b']));
    }
    values
}

/// The same steps, with the two values of a param exchanged if the first step has the second one. A
/// shrunk history may have either, since steps must agree on them.
pub(super) fn renamed(plan: &Plan, steps: &[Step]) -> Vec<Step> {
    let values = values(plan);
    let first = steps.first().map(Step::params).cloned().unwrap_or_default();
    let rename = |params: &Params| -> Params {
        let each = params.iter().map(|(name, value)| {
            let [small, large] = &values[name];
            let is_large = |params: &Params| {
                let value = params.get(name).map(ParamValue::values);
                value == Some(std::slice::from_ref(large))
            };
            let value = match (is_large(&first), is_large(params)) {
                (false, _) => value.clone(),
                (true, true) => small.into(),
                (true, false) => large.into(),
            };
            (name.to_owned(), value)
        });
        each.collect()
    };
    let mut steps = steps.to_vec();
    for step in &mut steps {
        let (Step::Load { params, .. } | Step::Change { params, .. }) = step;
        *params = rename(params);
    }
    steps
}

/// A history while it is played.
pub(super) struct History<'c, L> {
    plan: &'c Plan,
    load: &'c L,
    cache: Cache,
    truth: Truth,
    /// The loaded values, by key.
    loaded: BTreeMap<String, (String, Params)>,
    /// The steps so far, in words.
    told: Vec<String>,
}

impl<'c, L: Fn(&Wanted<'_>, &Truth) -> Option<String>> History<'c, L> {
    pub(super) fn new(plan: &'c Plan, load: &'c L) -> Result<Self> {
        Ok(Self {
            plan,
            load,
            cache: Cache::builder(plan.rules.clone()).in_memory().open()?,
            truth: Truth::default(),
            loaded: BTreeMap::new(),
            told: Vec::new(),
        })
    }

    /// Plays the steps. Returns what was out of date first, in words.
    pub(super) fn play(&mut self, steps: &[Step]) -> Result<Option<String>> {
        for step in steps {
            match step {
                Step::Load { controller, params } => self.load(controller, params)?,
                Step::Change { change, params } => self.change(change, params)?,
            }
            if let Some(stale) = self.stale()? {
                return Ok(Some(stale));
            }
        }
        Ok(None)
    }

    fn value_now(&self, controller: &str, params: &Params) -> Option<String> {
        (self.load)(&Wanted { controller, params }, &self.truth)
    }

    fn load(&mut self, controller: &str, params: &Params) -> Result<()> {
        let Some(value) = self.value_now(controller, params) else {
            return Ok(());
        };
        let found = self
            .cache
            .get_or_load(controller, params, || Ok(value.into_bytes()))?;
        let key = self.plan.rules.key(controller, params)?;
        let found = String::from_utf8_lossy(&found).into_owned();
        self.told
            .push(format!("load `{controller}`: `{key}` is `{found}`"));
        self.loaded
            .insert(key, (controller.to_owned(), params.clone()));
        Ok(())
    }

    fn change(&mut self, change: &Change, params: &Params) -> Result<()> {
        let Change { name, tasks, .. } = change;
        let version = self.truth.change(name, &change.params, params);
        let of: Params = params
            .iter()
            .filter(|(name, _)| change.params.iter().any(|own| own == name))
            .map(|(name, value)| (name, value.clone()))
            .collect();
        let with = match &tasks[..] {
            [] => "no tasks".to_owned(),
            tasks => format!("`{}`", tasks.join("`, `")),
        };
        let keys = match change.is_document {
            true => self.plan.rules.expand_for(name, tasks, params)?,
            false => self.plan.rules.expand(tasks, params)?,
        };
        let (did, by) = match change.is_document {
            true => ("save", "with"),
            false => ("change", "and invalidate"),
        };
        self.told.push(format!(
            "{did} `{name}` ({}) {by} {with}, which deletes {}; it has version {version}",
            shown(&of),
            listed(&keys)
        ));
        match change.is_document {
            true => self.commit(change, params, version, &keys),
            false => self.cache.invalidate(tasks, params).map(drop),
        }
    }

    /// A save's step on the server, after the rename.
    fn commit(&self, change: &Change, params: &Params, version: u64, keys: &KeyList) -> Result<()> {
        let rules = &self.plan.rules;
        let value = rules.key(&change.name, params)?;
        let first = change.params.first().and_then(|name| params.get(name));
        let first = first.and_then(|value| value.values().first());
        let bytes = version.to_string().into_bytes();
        let commit = Commit {
            id: token::hex_128()?,
            locks: Vec::new(),
            own: vec![Own {
                entry: Entry {
                    leases: keys::leases(&value, first.map(String::as_str)).into(),
                    value: value.into(),
                },
                stamp: Stamp {
                    mtime_ns: i64::try_from(version).unwrap_or(i64::MAX),
                    size: bytes.len() as u64,
                    inode: 1,
                },
                bytes: bytes.into(),
                ttl_ms: u64::try_from(rules.ttl(&change.name)?.as_millis()).unwrap_or(u64::MAX),
                over: None,
            }],
            dependents: self.cache.entries(keys),
            release: false,
            token: String::new(),
            wait: None,
        };
        match self.cache.ask(commit) {
            Ok(CommitReply::Committed { .. }) => Ok(()),
            other => Err(Error::new(Kind::Internal(format!(
                "not committed: {other:?}"
            )))),
        }
    }

    /// A cached value that differs from what would be loaded now, with the history so far.
    fn stale(&self) -> Result<Option<String>> {
        for (key, (controller, params)) in &self.loaded {
            let Some(cached) = self.cache.get(controller, params)? else {
                continue;
            };
            let cached = String::from_utf8_lossy(&cached).into_owned();
            let now = self.value_now(controller, params).unwrap_or_default();
            if cached != now {
                let mut told = format!(
                    "`{controller}` is out of date: `{key}` is `{cached}` in the cache, and its loader gives `{now}` now"
                );
                for (n, step) in self.told.iter().enumerate() {
                    told.push_str(&format!("\n{}. {step}", n + 1));
                }
                return Ok(Some(told));
            }
        }
        Ok(None)
    }
}

fn listed(keys: &KeyList) -> String {
    if keys.is_empty() {
        return "nothing".to_owned();
    }
    let keys: Vec<String> = keys.iter().map(|key| format!("`{key}`")).collect();
    keys.join(", ")
}
