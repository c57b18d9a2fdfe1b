//! Traits of tuples of documents and of their data. Sealed.

use super::{Documents, Values};
use crate::{
    model::{Bytes, Result},
    store::{Document, hold::Hold},
};
use serde::{Serialize, de::DeserializeOwned};

/// The data read under the locks, parsed.
pub struct Parsed<V> {
    pub values: V,
    pub holds: Vec<Hold>,
}

/// A handle on a document.
pub trait Target {
    type Content: DeserializeOwned;
    fn document(&self) -> Document<()>;
}

impl<T: DeserializeOwned> Target for Document<T> {
    type Content = T;

    fn document(&self) -> Document<()> {
        self.untyped()
    }
}

pub trait Parts {
    type Values;
    fn targets(&self) -> Vec<Document<()>>;
    fn parse(taken: Vec<(Hold, Bytes)>) -> Result<Parsed<Self::Values>>;
}

pub trait Write {
    fn bytes(&self, holds: &[Hold]) -> Result<Vec<Bytes>>;
}

macro_rules! tuples {
    ($($type:ident $n:tt),+) => {
        impl<$($type: Target),+> Parts for ($(&$type,)+) {
            type Values = ($($type::Content,)+);

            fn targets(&self) -> Vec<Document<()>> {
                vec![$(self.$n.document()),+]
            }

            fn parse(taken: Vec<(Hold, Bytes)>) -> Result<Parsed<Self::Values>> {
                let values = ($(taken[$n].0.parse::<$type::Content>(&taken[$n].1)?,)+);
                let outer = |(hold, bytes): (Hold, Bytes)| hold.outer_of(&bytes);
                Ok(Parsed {
                    values,
                    holds: taken.into_iter().map(outer).collect(),
                })
            }
        }

        impl<$($type: Target),+> Documents for ($(&$type,)+) {}

        impl<$($type: Serialize),+> Write for ($($type,)+) {
            fn bytes(&self, holds: &[Hold]) -> Result<Vec<Bytes>> {
                Ok(vec![$(holds[$n].to_bytes(&self.$n)?),+])
            }
        }

        impl<$($type: Serialize),+> Values for ($($type,)+) {}
    };
}

tuples!(A 0);
tuples!(A 0, B 1);
tuples!(A 0, B 1, C 2);
tuples!(A 0, B 1, C 2, D 3);
tuples!(A 0, B 1, C 2, D 3, E 4);
tuples!(A 0, B 1, C 2, D 3, E 4, F 5);
tuples!(A 0, B 1, C 2, D 3, E 4, F 5, G 6);
tuples!(A 0, B 1, C 2, D 3, E 4, F 5, G 6, H 7);
