//! Replaces spans without the feature `tracing`: does nothing.

use std::fmt;

#[derive(Clone, Debug)]
pub(crate) struct Span;

impl Span {
    pub(crate) fn lock(_: &str) -> Self {
        Self
    }

    pub(crate) fn save(_: &'static str, _: &dyn fmt::Display, _: &[String]) -> Self {
        Self
    }

    pub(crate) fn load(_: &str, _: &str) -> Self {
        Self
    }

    pub(crate) fn replay() -> Self {
        Self
    }

    pub(crate) fn none() -> Self {
        Self
    }

    pub(crate) fn request(_: &'static str) -> Self {
        Self
    }

    #[cfg(feature = "tokio")]
    pub(crate) fn current() -> Self {
        Self
    }

    pub(crate) fn outcome(&self, _: &str) {}

    pub(crate) fn replayed(&self, _: u64, _: u64) {}

    pub(crate) fn around<F: Future>(&self, work: F) -> F {
        work
    }

    pub(crate) fn inside<R>(&self, work: impl FnOnce() -> R) -> R {
        work()
    }
}
