//! Loads that this thread has begun and not finished. A load that begins itself again would wait
//! for itself.

use crate::model::{Error, error::Kind};
use std::{any::TypeId, cell::RefCell};

thread_local! {
    static BEGUN: RefCell<Vec<Load>> = const { RefCell::new(Vec::new()) };
}

/// Identifies a load.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Load {
    /// The address of the cache or the store.
    pub(crate) owner: usize,
    /// One name may be loaded as several types.
    pub(crate) kind: TypeId,
    pub(crate) name: String,
}

/// The load ends when this is dropped.
#[derive(Debug)]
pub(crate) struct Begun(());

impl Load {
    /// Whether this thread is loading it already.
    pub(crate) fn is_under_way(owner: usize, kind: TypeId, name: &str) -> bool {
        let is_same = |load: &Load| (load.owner, load.kind, &*load.name) == (owner, kind, name);
        BEGUN.with_borrow(|begun| begun.iter().any(is_same))
    }

    pub(crate) fn begin(self) -> Begun {
        BEGUN.with_borrow_mut(|begun| begun.push(self));
        Begun(())
    }
}

pub(crate) fn refused(name: &str) -> Error {
    Error::new(Kind::Nested {
        name: name.to_owned(),
    })
}

impl Drop for Begun {
    fn drop(&mut self) {
        // Loads of one thread end in reverse order, the innermost first.
        BEGUN.with_borrow_mut(|begun| begun.pop());
    }
}
