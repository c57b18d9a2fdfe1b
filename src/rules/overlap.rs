//! Proves that no two controllers' keys are equal, and that no key is one of the library's own.
//!
//! A template is a regular language: literals, and values of one or more characters except braces,
//! control characters, and the character that ends the placeholder. The product of two templates'
//! automata decides whether they share a word, and that word is the example in the message. The
//! length of values and the equality of a placeholder's repeats are ignored, so the answer errs
//! towards "may be equal".
//!
//! The library's own keys are `sibling(V, name)` for every value key V (`V:name` if V has a hash
//! tag, else `{V}:name`), and the hashes of leases. There are two cases:
//! - A template whose **literals** end like a sibling (`{{{run}}}:x:stamp` beside `{{{run}}}:x`) is
//!   refused here.
//! - A template that only an unlucky **value** makes into one (`{{{run}}}:{doc}` with `doc` =
//!   `x:stamp`) is sensible, so it gets a [`Guard`], and the expansion refuses exactly such a
//!   value.

use super::{
    params::forbidden,
    parse::Draft,
    report::Report,
    template::{Piece, Template},
};
use crate::model::limits::MAX_COMPARE_STEPS;
use std::{
    collections::{HashMap, VecDeque},
    ops::Range,
};

/// The names of siblings in use.
const SIBLINGS: [&str; 5] = ["stamp", "leases", "lock", "fence", "lock:fence"];

/// The hash of leases on a single server, with or without a value after it; otherwise with a hash
/// tag before it.
const LEASES: &str = "cachetx:leases";

/// What a template's keys must be compared with whenever one is made.
pub(super) struct Guard {
    /// The controllers whose siblings a value could imitate.
    sibling_of: Vec<usize>,
    /// Whether a value could imitate a hash of leases.
    leases: bool,
}

/// Reports keys that may be equal, and gives each controller the guard that its values need.
pub(super) fn check(
    draft: &Draft<'_>,
    templates: &[Option<Template>],
    report: &mut Report<'_>,
) -> Vec<Option<Box<Guard>>> {
    let known: Vec<Known<'_>> = templates
        .iter()
        .enumerate()
        .filter_map(|(controller, template)| {
            let template = template.as_ref()?;
            Some(Known {
                controller,
                span: draft.controllers[controller]
                    .template
                    .as_ref()?
                    .span
                    .clone(),
                template,
                word: atoms(template),
                tagged: template.hash_tag().is_some(),
            })
        })
        .collect();
    let mut guards: Vec<Option<Box<Guard>>> = templates.iter().map(|_| None).collect();
    let mut search = Search::new();
    for (n, this) in known.iter().enumerate() {
        let outcome =
            equals_earlier(draft, &known[..n], this, &mut search).and_then(|found| match found {
                Some(fault) => Ok(Err(fault)),
                None => imitates(draft, &known, this, &mut search),
            });
        match outcome {
            Ok(Ok(guard)) => guards[this.controller] = guard.map(Box::new),
            Ok(Err(Fault { message, help })) => {
                report.problem(this.span.clone(), message, Some(help));
            }
            Err(OutOfSteps) => {
                report.problem(
                    this.span.clone(),
                    "the templates are too much alike to prove that their keys differ",
                    Some("begin or end each template with a literal of its own".to_owned()),
                );
                break;
            }
        }
    }
    guards
}

/// A text that both templates can give; an error if that cannot be decided.
pub(crate) fn common_text(a: &Template, b: &Template) -> Result<Option<String>, &'static str> {
    if surely_differ(a, b) {
        return Ok(None);
    }
    let found = Search::new().common_word(&atoms(a), &atoms(b));
    found.map_err(|OutOfSteps| "they are too much alike to prove that they differ")
}

struct Fault {
    message: String,
    help: String,
}

pub(super) struct OutOfSteps;

/// The shortest key that both templates can give; `None` if there is none.
#[cfg(feature = "testing")]
pub(super) fn common_key(a: &Template, b: &Template) -> Result<Option<String>, OutOfSteps> {
    if surely_differ(a, b) {
        return Ok(None);
    }
    Search::new().common_word(&atoms(a), &atoms(b))
}

/// A template without errors.
struct Known<'d> {
    controller: usize,
    /// Its place in the file.
    span: Range<usize>,
    template: &'d Template,
    word: Vec<Atom>,
    tagged: bool,
}

/// Whether a template shares a key with one that was declared before it.
fn equals_earlier(
    draft: &Draft<'_>,
    earlier: &[Known<'_>],
    this: &Known<'_>,
    search: &mut Search,
) -> Result<Option<Fault>, OutOfSteps> {
    for other in earlier {
        if surely_differ(this.template, other.template) {
            continue;
        }
        if let Some(key) = search.common_word(&this.word, &other.word)? {
            let other = &draft.controllers[other.controller].name.text;
            return Ok(Some(Fault {
                message: format!("this key can be equal to the key of `{other}`"),
                help: format!(
                    "both can give `{key}`; give each its own literal after the last placeholder"
                ),
            }));
        }
    }
    Ok(None)
}

/// Whether a template's keys can be the library's own. If so, the template is refused or guarded.
fn imitates(
    draft: &Draft<'_>,
    all: &[Known<'_>],
    this: &Known<'_>,
    search: &mut Search,
) -> Result<Result<Option<Guard>, Fault>, OutOfSteps> {
    let Known { template, word, .. } = this;
    let mut guard = Guard {
        sibling_of: Vec::new(),
        leases: false,
    };
    let endings: Vec<(&str, Vec<Atom>)> = suffixes()
        .filter(|(_, suffix)| may_end_with(&template.tail, template.pieces.is_empty(), suffix))
        .collect();
    for other in all.iter().take_while(|_| !endings.is_empty()) {
        // One check that any ending would pass, before one for each ending.
        if (other.tagged && differ_from_the_start(template, other.template))
            || (!other.tagged && !template.source.starts_with("{{"))
            || search
                .common_word(word, &sibling(other, &[ANYTHING]))?
                .is_none()
        {
            continue;
        }
        for (suffix, suffix_word) in &endings {
            let sibling = sibling(other, suffix_word);
            let Some(key) = search.common_word(word, &sibling)? else {
                continue;
            };
            if ends_like(&template.tail, suffix_word) {
                let other = &draft.controllers[other.controller].name.text;
                return Ok(Err(Fault {
                    message: format!("this key can be the {suffix} that is kept beside `{other}`"),
                    help: format!("such as `{key}`; choose another ending"),
                }));
            }
            if guard.sibling_of.last() != Some(&other.controller) {
                guard.sibling_of.push(other.controller);
            }
        }
    }
    for leases in lease_words() {
        let Some(key) = search.common_word(word, &leases)? else {
            continue;
        };
        let literal = template
            .pieces
            .first()
            .map_or(&template.tail, |piece| &piece.literal);
        if literal.starts_with(LEASES) || template.tail.ends_with(&format!("}}:{LEASES}")) {
            return Ok(Err(Fault {
                message: "this key can be a hash of leases".to_owned(),
                help: format!("such as `{key}`; choose another beginning than `{LEASES}`"),
            }));
        }
        guard.leases = true;
    }
    let needed = guard.leases || !guard.sibling_of.is_empty();
    Ok(Ok(needed.then_some(guard)))
}

impl Guard {
    /// Why a key may not be used, if so; `controller` returns a controller's name and template by
    /// its number.
    pub(super) fn refuses<'r>(
        &self,
        key: &str,
        controller: impl Fn(usize) -> (&'r str, &'r Template),
    ) -> Option<String> {
        if self.leases && is_leases(key) {
            return Some("which is the name of a hash of leases".to_owned());
        }
        let other = base_keys(key).find_map(|base| {
            self.sibling_of.iter().copied().find(|other| {
                let (_, template) = controller(*other);
                match template.hash_tag() {
                    Some(_) => template.matches(base),
                    None => bare(base).is_some_and(|value| template.matches(value)),
                }
            })
        })?;
        Some(format!(
            "which is kept beside an entry of `{}`",
            controller(other).0
        ))
    }
}

fn is_leases(key: &str) -> bool {
    match key.strip_prefix(LEASES) {
        Some(rest) => rest.is_empty() || rest.starts_with(':'),
        None => key
            .strip_prefix('{')
            .and_then(|rest| rest.strip_suffix(LEASES))
            .is_some_and(|tag| tag.ends_with("}:")),
    }
}

/// The keys of which this one would be a sibling, judged by its ending.
fn base_keys(key: &str) -> impl Iterator<Item = &str> {
    SIBLINGS
        .iter()
        .filter_map(move |name| key.strip_suffix(name)?.strip_suffix(':'))
}

fn bare(key: &str) -> Option<&str> {
    key.strip_prefix('{')?.strip_suffix('}')
}

/// One step of a template's automaton.
#[derive(Clone, Copy)]
enum Atom {
    Char(char),
    One(Class),
    /// Any number of them, including none.
    Many(Class),
}

/// A set of characters.
#[derive(Clone, Copy)]
enum Class {
    Value {
        until: Option<char>,
    },
    /// Characters of a hash tag: an opening brace is allowed.
    Tag,
    Any,
}

const ANYTHING: Atom = Atom::Many(Class::Any);

impl Class {
    fn contains(self, character: char) -> bool {
        match self {
            Self::Value { until } => !forbidden(character) && Some(character) != until,
            Self::Tag => character != '}',
            Self::Any => true,
        }
    }
}

fn literal(text: &str) -> impl Iterator<Item = Atom> {
    text.chars().map(Atom::Char)
}

fn atoms(template: &Template) -> Vec<Atom> {
    let mut atoms = Vec::new();
    for Piece {
        literal: before,
        until,
        ..
    } in &template.pieces
    {
        let class = Class::Value { until: *until };
        atoms.extend(literal(before));
        atoms.extend([Atom::One(class), Atom::Many(class)]);
    }
    atoms.extend(literal(&template.tail));
    atoms
}

/// `:stamp` and so on, each with its name in messages.
fn suffixes() -> impl Iterator<Item = (&'static str, Vec<Atom>)> {
    let colon = || std::iter::once(Atom::Char(':'));
    SIBLINGS
        .into_iter()
        .map(move |name| (name, colon().chain(literal(name)).collect()))
}

fn lease_words() -> [Vec<Atom>; 3] {
    let tag = Class::Tag;
    [
        literal(LEASES).collect(),
        literal(LEASES)
            .chain(literal(":"))
            .chain([ANYTHING])
            .collect(),
        literal("{")
            .chain([Atom::One(tag), Atom::Many(tag)])
            .chain(literal("}:"))
            .chain(literal(LEASES))
            .collect(),
    ]
}

fn sibling(of: &Known<'_>, suffix: &[Atom]) -> Vec<Atom> {
    let (open, close) = match of.tagged {
        true => (None, None),
        false => (Some(Atom::Char('{')), Some(Atom::Char('}'))),
    };
    open.into_iter()
        .chain(of.word.iter().copied())
        .chain(close)
        .chain(suffix.iter().copied())
        .collect()
}

/// Whether two templates' literals alone prove their keys different, as for nearly every pair in a
/// real file.
fn surely_differ(a: &Template, b: &Template) -> bool {
    let alike = |(a, b): (u8, u8)| a == b;
    !a.tail.bytes().rev().zip(b.tail.bytes().rev()).all(alike) || differ_from_the_start(a, b)
}

/// The same by the beginnings alone, so that it also holds for `b` with anything after it.
fn differ_from_the_start(a: &Template, b: &Template) -> bool {
    for ((a, a_until), (b, b_until)) in a.parts().zip(b.parts()) {
        if !a.bytes().zip(b.bytes()).all(|(a, b)| a == b) {
            return true;
        }
        // With equal literals and equal ends both values end at the same character, so the next
        // literals start there.
        if a != b || a_until.is_none() || a_until != b_until {
            return false;
        }
    }
    false
}

/// Whether a text that ends in `tail` can end in `suffix`. Before the tail there is a value, or
/// nothing.
fn may_end_with(tail: &str, whole: bool, suffix: &[Atom]) -> bool {
    let fits = tail
        .chars()
        .rev()
        .zip(suffix.iter().rev())
        .all(|(character, atom)| meet(Atom::Char(character), *atom).is_some());
    fits && !(whole && tail.chars().count() < suffix.len())
}

/// Whether the tail alone ends in `suffix`.
fn ends_like(tail: &str, suffix: &[Atom]) -> bool {
    may_end_with(tail, true, suffix)
}

/// A character that both steps accept.
fn meet(a: Atom, b: Atom) -> Option<char> {
    let class = |atom| match atom {
        Atom::Char(_) => None,
        Atom::One(class) | Atom::Many(class) => Some(class),
    };
    match (a, b) {
        (Atom::Char(a), Atom::Char(b)) => (a == b).then_some(a),
        (Atom::Char(c), other) | (other, Atom::Char(c)) => class(other)
            .is_some_and(|class| class.contains(c))
            .then_some(c),
        (a, b) => {
            // Each class excludes at most one of these.
            let both = |c: &char| {
                [a, b]
                    .into_iter()
                    .filter_map(class)
                    .all(|set| set.contains(*c))
            };
            ['x', 'y', 'z', 'a', 'b', 'c'].into_iter().find(both)
        }
    }
}

/// A position in each of two words.
type State = (usize, usize);

/// Searches for common words. Keeps its tables between searches, and counts the steps of all.
struct Search {
    steps_left: usize,
    from: HashMap<State, (State, Option<char>)>,
    queue: VecDeque<State>,
}

impl Search {
    fn new() -> Self {
        Self {
            steps_left: MAX_COMPARE_STEPS,
            from: HashMap::new(),
            queue: VecDeque::new(),
        }
    }

    /// A text that both accept, if there is one.
    fn common_word(&mut self, a: &[Atom], b: &[Atom]) -> Result<Option<String>, OutOfSteps> {
        let goal = (a.len(), b.len());
        self.from.clear();
        self.queue.clear();
        self.queue.push_back((0, 0));
        while let Some(state) = self.queue.pop_front() {
            self.steps_left = self.steps_left.checked_sub(1).ok_or(OutOfSteps)?;
            if state == goal {
                return Ok(Some(self.spell(goal)));
            }
            let (x, y) = (a.get(state.0).copied(), b.get(state.1).copied());
            let repeats = |atom| matches!(atom, Some(Atom::Many(_)));
            // Leaving a repetition costs no character.
            if repeats(x) {
                self.reach((state.0 + 1, state.1), state, None);
            }
            if repeats(y) {
                self.reach((state.0, state.1 + 1), state, None);
            }
            if let (Some(one), Some(other)) = (x, y)
                && let Some(character) = meet(one, other)
            {
                let to = (
                    state.0 + usize::from(!repeats(x)),
                    state.1 + usize::from(!repeats(y)),
                );
                self.reach(to, state, Some(character));
            }
        }
        Ok(None)
    }

    fn reach(&mut self, to: State, from: State, by: Option<char>) {
        if to != (0, 0) && !self.from.contains_key(&to) {
            self.from.insert(to, (from, by));
            self.queue.push_back(to);
        }
    }

    /// The characters on the way to a state.
    fn spell(&self, goal: State) -> String {
        let mut text: Vec<char> = Vec::new();
        let mut state = goal;
        while let Some((before, by)) = self.from.get(&state) {
            text.extend(by);
            state = *before;
        }
        text.iter().rev().collect()
    }
}
