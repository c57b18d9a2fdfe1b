//! Finds floats that JSON cannot hold, by a serializer that visits a value and writes nothing.
//!
//! The visit allocates nothing and tracks no path; only if it finds something is the value visited
//! again, with a path. The check cannot be part of writing: serde_json turns NaN into `null` before
//! its `Formatter` sees it.

use super::path_to;
use serde::ser::{self, Serialize};
use std::fmt;

/// Whether all floats in `value` are finite; an error names one that is not.
pub(super) fn check<T: Serialize + ?Sized>(value: &T) -> Result<(), String> {
    let Err(refused) = value.serialize(Finite) else {
        return Ok(());
    };
    let tracked = serde_path_to_error::serialize(value, Finite);
    let path = tracked.err().and_then(|e| path_to(e.path()));
    let what = path.map_or("the value".to_owned(), |path| format!("`{path}`"));
    Err(match refused {
        Refused::Float(word) => format!(
            "{what} is {word}, which JSON cannot hold (null would be read back); nothing was written"
        ),
        Refused::Custom(message) => format!("{what} cannot be written as JSON: {message}"),
    })
}

/// The serializer, also for all compounds. It has no state.
#[derive(Clone, Copy)]
struct Finite;

#[derive(Debug)]
enum Refused {
    Float(&'static str),
    /// The caller's `Serialize` failed by itself; the rest of the value was not checked.
    Custom(String),
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Float(word) => f.write_str(word),
            Self::Custom(message) => f.write_str(message),
        }
    }
}

impl std::error::Error for Refused {}

impl ser::Error for Refused {
    fn custom<T: fmt::Display>(message: T) -> Self {
        Self::Custom(message.to_string())
    }
}

type Done = Result<(), Refused>;

fn float(v: f64) -> Done {
    if v.is_finite() {
        Ok(())
    } else if v.is_nan() {
        Err(Refused::Float("NaN"))
    } else if v > 0.0 {
        Err(Refused::Float("infinite"))
    } else {
        Err(Refused::Float("negative infinite"))
    }
}

/// Values that contain no float.
macro_rules! fine {
    ($($method:ident($($type:ty),*);)*) => {
        $(fn $method(self, $(_: $type),*) -> Done {
            Ok(())
        })*
    };
}

impl ser::Serializer for Finite {
    type Ok = ();
    type Error = Refused;
    type SerializeSeq = Self;
    type SerializeTuple = Self;
    type SerializeTupleStruct = Self;
    type SerializeTupleVariant = Self;
    type SerializeMap = Self;
    type SerializeStruct = Self;
    type SerializeStructVariant = Self;

    fn serialize_f32(self, v: f32) -> Done {
        float(f64::from(v))
    }

    fn serialize_f64(self, v: f64) -> Done {
        float(v)
    }

    fine! {
        serialize_bool(bool);
        serialize_i8(i8);
        serialize_i16(i16);
        serialize_i32(i32);
        serialize_i64(i64);
        serialize_i128(i128);
        serialize_u8(u8);
        serialize_u16(u16);
        serialize_u32(u32);
        serialize_u64(u64);
        serialize_u128(u128);
        serialize_char(char);
        serialize_str(&str);
        serialize_bytes(&[u8]);
        serialize_none();
        serialize_unit();
        serialize_unit_struct(&'static str);
        serialize_unit_variant(&'static str, u32, &'static str);
    }

    /// Any text is fine; the default would build the string.
    fn collect_str<T: fmt::Display + ?Sized>(self, _: &T) -> Done {
        Ok(())
    }

    fn serialize_some<T: Serialize + ?Sized>(self, value: &T) -> Done {
        value.serialize(self)
    }

    fn serialize_newtype_struct<T: Serialize + ?Sized>(self, _: &'static str, value: &T) -> Done {
        value.serialize(self)
    }

    fn serialize_newtype_variant<T: Serialize + ?Sized>(
        self,
        _: &'static str,
        _: u32,
        _: &'static str,
        value: &T,
    ) -> Done {
        value.serialize(self)
    }

    fn serialize_seq(self, _: Option<usize>) -> Result<Self, Refused> {
        Ok(self)
    }

    fn serialize_tuple(self, _: usize) -> Result<Self, Refused> {
        Ok(self)
    }

    fn serialize_tuple_struct(self, _: &'static str, _: usize) -> Result<Self, Refused> {
        Ok(self)
    }

    fn serialize_tuple_variant(
        self,
        _: &'static str,
        _: u32,
        _: &'static str,
        _: usize,
    ) -> Result<Self, Refused> {
        Ok(self)
    }

    fn serialize_map(self, _: Option<usize>) -> Result<Self, Refused> {
        Ok(self)
    }

    fn serialize_struct(self, _: &'static str, _: usize) -> Result<Self, Refused> {
        Ok(self)
    }

    fn serialize_struct_variant(
        self,
        _: &'static str,
        _: u32,
        _: &'static str,
        _: usize,
    ) -> Result<Self, Refused> {
        Ok(self)
    }
}

/// Compounds: visits each part; the end needs nothing.
macro_rules! compound {
    ($($trait:ident: $($method:ident($($name:ty)?)),+;)*) => {
        $(impl ser::$trait for Finite {
            type Ok = ();
            type Error = Refused;

            $(fn $method<T: Serialize + ?Sized>(&mut self, $(_: $name,)? part: &T) -> Done {
                part.serialize(*self)
            })+

            fn end(self) -> Done {
                Ok(())
            }
        })*
    };
}

compound! {
    SerializeSeq: serialize_element();
    SerializeTuple: serialize_element();
    SerializeTupleStruct: serialize_field();
    SerializeTupleVariant: serialize_field();
    SerializeMap: serialize_key(), serialize_value();
    SerializeStruct: serialize_field(&'static str);
    SerializeStructVariant: serialize_field(&'static str);
}

#[cfg(test)]
mod tests;
