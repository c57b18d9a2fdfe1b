//! Keys in one text buffer, so that a list of any length takes two allocations.

use std::{fmt, iter::FusedIterator, ops::Range, sync::Arc};

/// The keys of an expansion, in the order in which the rules declare the controllers, without
/// duplicates.
///
/// # Examples
///
/// ```
/// # use cachetx::{Params, Rules};
/// # let rules = Rules::from_path("rules/nodb.json")?;
/// let run = Params::new().with("run_id", "copacetic-sled");
/// let keys = rules.expand(["build_climate"], &run)?;
/// assert!(keys.iter().any(|key| key == "nodb_cache:{copacetic-sled}:climate"));
/// # Ok::<(), cachetx::Error>(())
/// ```
#[derive(Clone, Default)]
pub struct KeyList {
    text: String,
    spots: Vec<Spot>,
    names: Arc<[Box<str>]>,
}

/// One key's place in the buffer.
#[derive(Clone, Copy)]
struct Spot {
    end: u32,
    controller: u32,
    first_start: u32,
    /// Zero if the template has no placeholder: no value is empty.
    first_len: u32,
}

/// One key of a [`KeyList`].
///
/// # Examples
///
/// ```
/// # use cachetx::{Params, Rules};
/// # let rules = Rules::from_path("rules/nodb.json")?;
/// let run = Params::new().with("run_id", "copacetic-sled");
/// let keys = rules.expand(["build_climate"], &run)?;
/// let slots: std::collections::BTreeSet<u16> = keys.entries().map(|key| key.slot).collect();
/// assert_eq!(slots.len(), 1); // all in one hash slot
/// # Ok::<(), cachetx::Error>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Key<'a> {
    /// The key on the server.
    pub key: &'a str,
    /// The controller whose entry it is.
    pub controller: &'a str,
    /// Its Cluster hash slot.
    pub slot: u16,
}

impl KeyList {
    pub(super) fn with_capacity(keys: usize, bytes: usize, names: Arc<[Box<str>]>) -> Self {
        Self {
            text: String::with_capacity(bytes),
            spots: Vec::with_capacity(keys),
            names,
        }
    }

    /// The buffer to append the next key to; [`KeyList::end_key`] ends it.
    pub(super) fn buffer(&mut self) -> &mut String {
        &mut self.text
    }

    /// Ends the key; `first` is the start and length of the first placeholder's value in the
    /// buffer.
    pub(super) fn end_key(&mut self, controller: usize, first: (usize, usize)) {
        // The buffer is bounded by limits::MAX_KEYS_BYTES and controllers by MAX_CONTROLLERS: no
        // cast truncates.
        self.spots.push(Spot {
            end: self.text.len() as u32,
            controller: controller as u32,
            first_start: first.0 as u32,
            first_len: first.1 as u32,
        });
    }

    /// The number of keys.
    #[must_use]
    pub fn len(&self) -> usize {
        self.spots.len()
    }

    /// Whether the list is empty.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.spots.is_empty()
    }

    /// The keys.
    #[must_use]
    pub fn iter(&self) -> Iter<'_> {
        Iter { list: self, at: 0 }
    }

    /// The keys with their controllers and hash slots. A slot is computed when its entry is
    /// requested.
    pub fn entries(&self) -> impl ExactSizeIterator<Item = Key<'_>> {
        (0..self.spots.len()).map(|index| {
            let key = self.key(index);
            Key {
                key,
                controller: &self.names[self.spots[index].controller as usize],
                slot: super::slots::slot(key),
            }
        })
    }

    /// All keys, concatenated.
    pub(crate) fn text(&self) -> &str {
        &self.text
    }

    /// The place of each key in the text, and the value of its template's first placeholder, which
    /// names the hash of leases.
    pub(crate) fn with_first_params(
        &self,
    ) -> impl ExactSizeIterator<Item = (Range<usize>, Option<&str>)> {
        (0..self.spots.len()).map(|index| {
            let spot = self.spots[index];
            let first = spot.first_start as usize..(spot.first_start + spot.first_len) as usize;
            let first = (!first.is_empty()).then(|| &self.text[first]);
            (self.place(index), first)
        })
    }

    fn key(&self, index: usize) -> &str {
        &self.text[self.place(index)]
    }

    fn place(&self, index: usize) -> Range<usize> {
        let start = match index.checked_sub(1) {
            Some(before) => self.spots[before].end,
            None => 0,
        };
        start as usize..self.spots[index].end as usize
    }
}

impl fmt::Debug for KeyList {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self).finish()
    }
}

/// Equal if they have equal keys of the same controllers in the same order.
impl PartialEq for KeyList {
    fn eq(&self, other: &Self) -> bool {
        self.text == other.text
            && self.len() == other.len()
            && self.spots.iter().zip(&other.spots).all(|(mine, theirs)| {
                mine.end == theirs.end
                    && self.names[mine.controller as usize]
                        == other.names[theirs.controller as usize]
            })
    }
}

impl Eq for KeyList {}

impl<'a> IntoIterator for &'a KeyList {
    type Item = &'a str;
    type IntoIter = Iter<'a>;

    fn into_iter(self) -> Iter<'a> {
        self.iter()
    }
}

/// The keys of a [`KeyList`].
///
/// # Examples
///
/// ```
/// # use cachetx::{Params, Rules};
/// # let rules = Rules::from_path("rules/nodb.json")?;
/// let run = Params::new().with("run_id", "copacetic-sled");
/// let keys = rules.expand(["build_climate"], &run)?;
/// let mut iter: cachetx::KeyIter<'_> = keys.iter();
/// assert!(iter.next().is_some());
/// # Ok::<(), cachetx::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct Iter<'a> {
    list: &'a KeyList,
    at: usize,
}

impl<'a> Iterator for Iter<'a> {
    type Item = &'a str;

    fn next(&mut self) -> Option<&'a str> {
        if self.at == self.list.len() {
            return None;
        }
        self.at += 1;
        Some(self.list.key(self.at - 1))
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        let left = self.list.len() - self.at;
        (left, Some(left))
    }
}

impl ExactSizeIterator for Iter<'_> {}
impl FusedIterator for Iter<'_> {}
