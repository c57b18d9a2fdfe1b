//! Sets of controllers, as bits in the order of declaration: a union takes a few words, and
//! iteration gives that order.

use crate::model::limits::MAX_CONTROLLERS;

const WORDS: usize = MAX_CONTROLLERS.div_ceil(64);

/// A set kept with the rules: it has as many words as the number of controllers needs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Set(Box<[u64]>);

/// A set made for one expansion, on the stack.
pub(super) struct Union([u64; WORDS]);

impl Set {
    /// The empty set over `controllers` controllers.
    pub(super) fn none(controllers: usize) -> Self {
        Self(vec![0; controllers.div_ceil(64)].into())
    }

    pub(super) fn all(controllers: usize) -> Self {
        let mut set = Self::none(controllers);
        (0..controllers).for_each(|index| set.insert(index));
        set
    }

    pub(super) fn insert(&mut self, index: usize) {
        self.0[index / 64] |= 1 << (index % 64);
    }

    pub(super) fn remove(&mut self, index: usize) {
        self.0[index / 64] &= !(1 << (index % 64));
    }

    pub(super) fn contains(&self, index: usize) -> bool {
        self.0[index / 64] >> (index % 64) & 1 == 1
    }

    pub(super) fn add(&mut self, other: &Self) {
        for (word, more) in self.0.iter_mut().zip(&other.0) {
            *word |= more;
        }
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = usize> + Clone {
        bits(&self.0)
    }
}

impl Union {
    pub(super) fn none() -> Self {
        Self([0; WORDS])
    }

    pub(super) fn add(&mut self, set: &Set) {
        for (word, more) in self.0.iter_mut().zip(&set.0) {
            *word |= more;
        }
    }

    pub(super) fn remove(&mut self, index: usize) {
        self.0[index / 64] &= !(1 << (index % 64));
    }

    /// The members below `controllers`.
    pub(super) fn iter(&self, controllers: usize) -> impl Iterator<Item = usize> + Clone {
        bits(&self.0[..controllers.div_ceil(64)])
    }
}

fn bits(words: &[u64]) -> impl Iterator<Item = usize> + Clone {
    words.iter().enumerate().flat_map(|(index, word)| {
        let mut left = *word;
        std::iter::from_fn(move || {
            let bit = left.trailing_zeros() as usize;
            (left != 0).then(|| {
                left &= left - 1;
                index * 64 + bit
            })
        })
    })
}
