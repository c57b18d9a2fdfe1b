//! A rules file as data: the strategies generate it, and expansions can be predicted from it
//! without compiling.

use crate::{model::Result, rules::Rules};
use serde::{Serialize, Serializer};
use std::fmt;

/// A rules file before it is text. [`RulesFile::to_json`] writes it, with all names in the order
/// given here.
///
/// Debug prints the text, so that a failing property shows a file that can be tried by hand.
///
/// # Examples
///
/// ```
/// use cachetx::testing::strategies;
/// use proptest::{strategy::{Strategy, ValueTree}, test_runner::TestRunner};
///
/// let mut runner = TestRunner::deterministic();
/// let file = strategies::rules().new_tree(&mut runner).expect("a value").current();
/// assert!(file.compile().is_ok());
/// # Ok::<(), cachetx::BoxError>(())
/// ```
#[derive(Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct RulesFile {
    /// The version that it declares, which determines the allowed fields.
    pub version: RulesVersion,
    /// `default_ttl_seconds`.
    pub default_ttl_seconds: Option<u64>,
    /// `cache_keys`.
    pub controllers: Vec<RulesController>,
    /// `depends_on`: a controller and its sources.
    pub depends_on: Vec<(String, Vec<String>)>,
    /// `rules`.
    pub tasks: Vec<RulesTask>,
}

/// The versions of the format.
///
/// # Examples
///
/// ```
/// use cachetx::testing::strategies;
/// use proptest::{strategy::{Strategy, ValueTree}, test_runner::TestRunner};
///
/// let mut runner = TestRunner::deterministic();
/// let file = strategies::rules().new_tree(&mut runner).expect("a value").current();
/// println!("{:?}", file.version);
/// # Ok::<(), cachetx::BoxError>(())
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum RulesVersion {
    /// `"1.0"`: keys, and tasks that list controllers.
    V1_0,
    /// `"1.1"`: all fields.
    #[default]
    V1_1,
}

/// One member of `cache_keys`.
///
/// # Examples
///
/// ```
/// use cachetx::testing::strategies;
/// use proptest::{strategy::{Strategy, ValueTree}, test_runner::TestRunner};
///
/// let mut runner = TestRunner::deterministic();
/// let file = strategies::rules().new_tree(&mut runner).expect("a value").current();
/// assert!(file.controllers.iter().all(|controller| !controller.key.is_empty()));
/// # Ok::<(), cachetx::BoxError>(())
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct RulesController {
    /// The controller.
    pub name: String,
    /// Its key's template, braces escaped as in the file.
    pub key: String,
    /// Its own TTL; with one, the member is written as an object.
    pub ttl_seconds: Option<u64>,
}

/// One member of `rules`.
///
/// # Examples
///
/// ```
/// use cachetx::testing::strategies;
/// use proptest::{strategy::{Strategy, ValueTree}, test_runner::TestRunner};
///
/// let mut runner = TestRunner::deterministic();
/// let file = strategies::rules().new_tree(&mut runner).expect("a value").current();
/// assert!(file.tasks.iter().all(|task| !task.name.is_empty()));
/// # Ok::<(), cachetx::BoxError>(())
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct RulesTask {
    /// The task.
    pub name: String,
    /// `description`.
    pub description: Option<String>,
    /// `invalidates_cache`: controllers, or `*`.
    pub invalidates: Vec<String>,
    /// `except`; omitted if empty.
    pub except: Vec<String>,
    /// `includes`: other tasks; omitted if empty.
    pub includes: Vec<String>,
    /// `cascade`; an omitted one means true.
    pub cascade: Option<bool>,
}

impl RulesFile {
    /// The file's text.
    #[must_use]
    pub fn to_json(&self) -> String {
        serde_json::to_string_pretty(self).unwrap_or_else(|error| {
            unreachable!("names and numbers always serialize, but: {error}")
        })
    }

    /// Compiles the text.
    ///
    /// # Errors
    /// The text has problems. This never happens for files from `strategies::rules`.
    pub fn compile(&self) -> Result<Rules> {
        Rules::from_json(&self.to_json())
    }
}

impl fmt::Debug for RulesFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.to_json())
    }
}

/// Members in the order given; serde_json's own map would sort them.
struct Ordered<'a, T>(Vec<(&'a str, T)>);

impl<T: Serialize> Serialize for Ordered<'_, T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.0.iter().map(|(name, value)| (name, value)))
    }
}

impl Serialize for RulesFile {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        #[derive(Serialize)]
        struct File<'a> {
            version: &'a str,
            #[serde(skip_serializing_if = "Option::is_none")]
            default_ttl_seconds: Option<u64>,
            cache_keys: Ordered<'a, &'a RulesController>,
            #[serde(skip_serializing_if = "Option::is_none")]
            depends_on: Option<Ordered<'a, &'a [String]>>,
            rules: Ordered<'a, &'a RulesTask>,
        }
        let depends_on = self.depends_on.iter();
        File {
            version: match self.version {
                RulesVersion::V1_0 => "1.0",
                RulesVersion::V1_1 => "1.1",
            },
            default_ttl_seconds: self.default_ttl_seconds,
            cache_keys: Ordered(self.controllers.iter().map(|c| (&*c.name, c)).collect()),
            depends_on: (!self.depends_on.is_empty())
                .then(|| Ordered(depends_on.map(|(name, from)| (&**name, &**from)).collect())),
            rules: Ordered(self.tasks.iter().map(|t| (&*t.name, t)).collect()),
        }
        .serialize(serializer)
    }
}

impl Serialize for RulesController {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        #[derive(Serialize)]
        struct Key<'a> {
            key: &'a str,
            ttl_seconds: u64,
        }
        match self.ttl_seconds {
            None => self.key.serialize(serializer),
            Some(ttl_seconds) => Key {
                key: &self.key,
                ttl_seconds,
            }
            .serialize(serializer),
        }
    }
}

impl Serialize for RulesTask {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        #[derive(Serialize)]
        struct Rule<'a> {
            #[serde(skip_serializing_if = "Option::is_none")]
            description: Option<&'a str>,
            invalidates_cache: &'a [String],
            #[serde(skip_serializing_if = "<[_]>::is_empty")]
            except: &'a [String],
            #[serde(skip_serializing_if = "<[_]>::is_empty")]
            includes: &'a [String],
            #[serde(skip_serializing_if = "Option::is_none")]
            cascade: Option<bool>,
        }
        Rule {
            description: self.description.as_deref(),
            invalidates_cache: &self.invalidates,
            except: &self.except,
            includes: &self.includes,
            cascade: self.cascade,
        }
        .serialize(serializer)
    }
}
