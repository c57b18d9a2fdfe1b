//! From a set of controllers and params to keys: everything is checked and counted before the first
//! key is made.

use super::{
    KeyList,
    compile::{Compiled, Controller},
    params::{self, Params},
};
use crate::model::{
    Error, Result,
    error::Kind,
    limits::{MAX_KEYS, MAX_KEYS_BYTES},
};
use smallvec::{SmallVec, smallvec};
use std::collections::HashSet;

/// Number of params in the rules up to which an expansion does not allocate for them.
const PARAMS: usize = 8;

/// The tasks of an expansion, usually few.
pub(super) type Tasks = SmallVec<[usize; 8]>;

/// Why keys are asked for, for messages.
#[derive(Clone, Copy)]
pub(super) enum Cause<'a> {
    Unknown,
    Tasks(&'a [usize]),
    Save { own: usize, tasks: &'a [usize] },
}

impl Cause<'_> {
    /// Why the key of this controller is one of them; empty if that is not known.
    fn of(self, rules: &Compiled, index: usize) -> String {
        let (own, tasks) = match self {
            Self::Unknown => (None, &[][..]),
            Self::Tasks(tasks) => (None, tasks),
            Self::Save { own, tasks } => (Some(own), tasks),
        };
        let mut named = tasks.iter().map(|task| &rules.tasks[*task]);
        let task = named.find(|task| task.invalidates.contains(index));
        let own = own.filter(|own| rules.dependents[*own].contains(index));
        match (task, own) {
            (Some(task), _) => format!(", invalidated by the task `{}`", task.name),
            (None, Some(own)) => format!(", which depends on `{}`", rules.names[own]),
            (None, None) => String::new(),
        }
    }
}

/// The keys of some controllers, which must come in the order of declaration.
pub(super) fn keys(
    rules: &Compiled,
    controllers: impl Iterator<Item = usize> + Clone,
    params: &Params,
    cause: Cause<'_>,
) -> Result<KeyList> {
    let mut bound = Bound::new(rules, params, cause);
    let (mut count, mut bytes) = (0_usize, 0_usize);
    for index in controllers.clone() {
        let (keys, text) = bound.bind(index)?;
        count = count.saturating_add(keys);
        bytes = bytes.saturating_add(text);
    }
    if count > MAX_KEYS {
        return refuse(format!(
            "{count} keys are over the limit of {MAX_KEYS} for one expansion; give fewer values in list params"
        ));
    }
    if bytes > MAX_KEYS_BYTES {
        return refuse(format!(
            "keys of {bytes} bytes in all are over the limit of {MAX_KEYS_BYTES} for one expansion"
        ));
    }
    let mut list = KeyList::with_capacity(count, bytes, rules.names.clone());
    for index in controllers {
        bound.write(index, &mut list)?;
    }
    Ok(list)
}

/// The one key of a controller.
pub(super) fn key(rules: &Compiled, index: usize, params: &Params) -> Result<String> {
    check_single(rules, index, params)?;
    let mut bound = Bound::new(rules, params, Cause::Unknown);
    let (_, bytes) = bound.bind(index)?;
    let mut text = String::with_capacity(bytes);
    bound.append(&rules.controllers[index], &mut text);
    guard(rules, index, &text)?;
    Ok(text)
}

/// Whether the params give a controller exactly one key.
pub(super) fn check_single(rules: &Compiled, index: usize, params: &Params) -> Result<()> {
    let mut axes = rules.controllers[index].axes.iter();
    axes.try_for_each(|axis| {
        let user = || user(rules, index, Cause::Unknown);
        params::single(params, &rules.params[*axis], user).map(drop)
    })
}

fn refuse<T>(message: String) -> Result<T> {
    Err(Error::new(Kind::Params(message)))
}

/// How an error names the template that a param is for.
fn user(rules: &Compiled, index: usize, cause: Cause<'_>) -> String {
    format!(
        "the key of `{}` (`{}`{})",
        rules.names[index],
        rules.controllers[index].template.source,
        cause.of(rules, index)
    )
}

fn guard(rules: &Compiled, index: usize, key: &str) -> Result<()> {
    let refused = rules.controllers[index].guard.as_ref().and_then(|guard| {
        guard.refuses(key, |other| {
            (&*rules.names[other], &rules.controllers[other].template)
        })
    });
    match refused {
        None => Ok(()),
        Some(why) => refuse(format!(
            "these params make {} `{}`, {why}; choose other values",
            user(rules, index, Cause::Unknown),
            key.escape_debug()
        )),
    }
}

/// The params of one expansion, each looked up once.
struct Bound<'a> {
    rules: &'a Compiled,
    params: &'a Params,
    cause: Cause<'a>,
    /// By param.
    values: SmallVec<[Values<'a>; PARAMS]>,
    /// By hole: whether the values have been checked for it.
    checked: SmallVec<[bool; 2 * PARAMS]>,
    /// By param: which of its values the next key uses.
    chosen: SmallVec<[usize; PARAMS]>,
}

enum Values<'a> {
    /// Not looked up yet; `bind` resolves all params of the template that it was asked about.
    Unknown,
    One(&'a str),
    Many {
        list: Vec<&'a str>,
        bytes: usize,
    },
}

impl<'a> Bound<'a> {
    fn new(rules: &'a Compiled, params: &'a Params, cause: Cause<'a>) -> Self {
        Self {
            rules,
            params,
            cause,
            values: rules.params.iter().map(|_| Values::Unknown).collect(),
            checked: smallvec![false; rules.holes.len()],
            chosen: smallvec![0; rules.params.len()],
        }
    }

    /// Looks up and checks what a controller's template needs. Returns the number of its keys, and
    /// their bytes.
    fn bind(&mut self, index: usize) -> Result<(usize, usize)> {
        let rules = self.rules;
        let controller = &rules.controllers[index];
        for hole in &controller.holes {
            if !self.checked[*hole] {
                self.check(index, *hole)?;
                self.checked[*hole] = true;
            }
        }
        let count = controller.axes.iter().fold(1_usize, |count, axis| {
            count.saturating_mul(self.values[*axis].len())
        });
        let mut bytes = controller.literal_bytes.saturating_mul(count);
        for (axis, uses) in controller.axes.iter().zip(&controller.uses) {
            let values = &self.values[*axis];
            // Each value stands in an equal share of the keys.
            let of_axis = (count / values.len()).saturating_mul(values.bytes());
            bytes = bytes.saturating_add(of_axis.saturating_mul(*uses));
        }
        Ok((count, bytes))
    }

    #[cold]
    fn check(&mut self, index: usize, hole: usize) -> Result<()> {
        let rules = self.rules;
        let hole = rules.holes[hole];
        let name = &rules.params[hole.param];
        let user = || user(rules, index, self.cause);
        if matches!(self.values[hole.param], Values::Unknown) {
            let given = params::values(self.params, name, user)?;
            self.values[hole.param] = Values::new(given);
        }
        let values = &self.values[hole.param];
        (0..values.len()).try_for_each(|n| params::check(name, values.get(n), hole.until, user))
    }

    /// Appends all keys of a controller, which must be bound. The last placeholder varies fastest.
    fn write(&mut self, index: usize, list: &mut KeyList) -> Result<()> {
        let rules = self.rules;
        let controller = &rules.controllers[index];
        loop {
            let start = list.buffer().len();
            let first = self.append(controller, list.buffer());
            if controller.guard.is_some() {
                guard(rules, index, &list.buffer()[start..])?;
            }
            list.end_key(index, first);
            if !self.next_choice(controller) {
                return Ok(());
            }
        }
    }

    /// Appends one key. Returns the place of its first placeholder's value.
    fn append(&self, controller: &Controller, text: &mut String) -> (usize, usize) {
        let mut first = (0, 0);
        for (n, (piece, hole)) in controller
            .template
            .pieces
            .iter()
            .zip(&controller.holes)
            .enumerate()
        {
            let param = self.rules.holes[*hole].param;
            let value = self.values[param].get(self.chosen[param]);
            text.push_str(&piece.literal);
            if n == 0 {
                first = (text.len(), value.len());
            }
            text.push_str(value);
        }
        text.push_str(&controller.template.tail);
        first
    }

    /// Advances to the next combination of values. Returns false after the last one, and starts
    /// over at the first.
    fn next_choice(&mut self, controller: &Controller) -> bool {
        for axis in controller.axes.iter().rev() {
            self.chosen[*axis] += 1;
            if self.chosen[*axis] < self.values[*axis].len() {
                return true;
            }
            self.chosen[*axis] = 0;
        }
        false
    }
}

impl<'a> Values<'a> {
    /// The values without duplicates, so that keys have none.
    fn new(given: &'a [String]) -> Self {
        if let [one] = given {
            return Self::One(one);
        }
        let mut seen = HashSet::with_capacity(given.len());
        let list: Vec<&str> = given
            .iter()
            .map(String::as_str)
            .filter(|value| seen.insert(*value))
            .collect();
        let bytes = list.iter().map(|value| value.len()).sum();
        Self::Many { list, bytes }
    }

    fn len(&self) -> usize {
        match self {
            Self::Many { list, .. } => list.len(),
            Self::One(_) | Self::Unknown => 1,
        }
    }

    fn bytes(&self) -> usize {
        match self {
            Self::Unknown => 0,
            Self::One(value) => value.len(),
            Self::Many { bytes, .. } => *bytes,
        }
    }

    fn get(&self, n: usize) -> &'a str {
        match self {
            Self::Unknown => "",
            Self::One(value) => value,
            Self::Many { list, .. } => list[n],
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::rules::{Params, Rules};

    #[test]
    fn everything_of_some_params_is_every_key_that_a_save_with_them_could_make() {
        let rules = Rules::from_json(
            r#"{ "version": "1.0",
                 "cache_keys": { "climate": "a:{run}", "scenario": "b:{run}:{scenario}", "all": "c", "path": "d:{run}/{x}" },
                 "rules": {} }"#,
        )
        .unwrap();
        let all = |params: Params| -> Vec<String> {
            let lists = rules.expand_all(&params);
            lists
                .flat_map(|keys| keys.iter().map(str::to_owned).collect::<Vec<_>>())
                .collect()
        };
        let run = Params::new().with("run", "r");
        assert_eq!(all(run.clone()), ["a:r", "c"]);
        let scenarios = run.with("scenario", ["x", "y"]);
        assert_eq!(all(scenarios), ["a:r", "b:r:x", "b:r:y", "c"]);
        // A value that is not allowed in a key: no save has made such a key.
        let odd = Params::new().with("run", "r/s").with("x", "1");
        assert_eq!(all(odd), ["a:r/s", "c"]);
    }
}
