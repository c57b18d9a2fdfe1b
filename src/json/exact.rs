//! Refuses integers that the target type would round: a save would write back a different number.
//!
//! serde_json reads an integer beyond 64 bits as a float unless the target requests 128 bits, and
//! an `f64` accepts any integer. Both round without an error. Only a text with an integer of
//! [`DIGITS`] digits or more is read through this deserializer; other texts cannot have the
//! problem.

use serde::de::{self, DeserializeOwned, DeserializeSeed, Visitor};
use std::fmt;

/// The number of digits of 2^53 + 1, the first integer that an `f64` rounds.
const DIGITS: usize = 16;

/// The integers of a text that may be rounded.
#[derive(Default)]
pub(super) struct LongIntegers<'t> {
    any: bool,
    /// Integers beyond 64 bits that no float equals: for each, the bits of the float that
    /// serde_json makes of it, and its digits. An integer is left out if the text also contains a
    /// float with these bits: a target that reads the integer exactly could not be told from one
    /// that does not.
    beyond: Vec<(u64, &'t str)>,
}

impl<'t> LongIntegers<'t> {
    pub(super) fn of(text: &'t str) -> Self {
        let mut found = Self::default();
        // A run of that many digits covers one of the positions checked.
        let mut places = text.bytes().skip(DIGITS - 1).step_by(DIGITS);
        if !places.any(|b| b.is_ascii_digit()) {
            return found;
        }
        let mut floats = Vec::new();
        for number in numbers(text) {
            if number.contains(['.', 'e', 'E']) {
                floats.push(number);
            } else if number.len() >= DIGITS {
                found.any = true;
                found.note(number);
            }
        }
        let is_float = |bits| floats.iter().any(|it| bits_of(it) == Some(bits));
        found.beyond.retain(|(bits, _)| !is_float(*bits));
        found
    }

    fn note(&mut self, digits: &'t str) {
        let fits = digits.parse::<u64>().is_ok() || digits.parse::<i64>().is_ok();
        if let (false, Some(bits)) = (fits, bits_of(digits))
            && format!("{:.0}", f64::from_bits(bits)) != digits
        {
            self.beyond.push((bits, digits));
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        !self.any
    }
}

fn bits_of(number: &str) -> Option<u64> {
    number.parse().ok().map(f64::to_bits)
}

/// The numbers of a JSON text, except those inside strings.
fn numbers(text: &str) -> impl Iterator<Item = &str> {
    let bytes = text.as_bytes();
    let mut at = 0;
    std::iter::from_fn(move || {
        while at < bytes.len() {
            let start = at;
            at += 1;
            match bytes[start] {
                b'"' => at = past_string(bytes, at),
                b'-' | b'0'..=b'9' => {
                    let part =
                        |b: &&u8| matches!(b, b'0'..=b'9' | b'+' | b'-' | b'.' | b'e' | b'E');
                    at += bytes[at..].iter().take_while(part).count();
                    return Some(&text[start..at]);
                }
                _ => {}
            }
        }
        None
    })
}

/// The position after the quotation mark that ends the string.
fn past_string(bytes: &[u8], mut at: usize) -> usize {
    while at < bytes.len() && bytes[at] != b'"' {
        at += if bytes[at] == b'\\' { 2 } else { 1 };
    }
    at + 1
}

/// Reads a whole text and tracks the path.
pub(super) fn read<T: DeserializeOwned>(
    text: &str,
    long: &LongIntegers<'_>,
) -> Result<T, serde_path_to_error::Error<serde_json::Error>> {
    let mut parser = serde_json::Deserializer::from_str(text);
    let mut track = serde_path_to_error::Track::new();
    let inner = serde_path_to_error::Deserializer::new(&mut parser, &mut track);
    let read = T::deserialize(Exact { inner, long }).and_then(|value| {
        parser.end()?;
        Ok(value)
    });
    read.map_err(|e| serde_path_to_error::Error::new(track.path(), e))
}

/// A deserializer, or the access to a compound's parts.
struct Exact<'l, 't, D> {
    inner: D,
    long: &'l LongIntegers<'t>,
}

/// A visitor, or the seed of a part.
struct Checked<'l, 't, V> {
    inner: V,
    long: &'l LongIntegers<'t>,
    /// Whether the target turns integers into floats.
    float: bool,
}

fn rounded<E: de::Error>(digits: impl fmt::Display) -> E {
    E::custom(format_args!(
        "the integer {digits} would be rounded to a 64-bit float, and saved as that: read it as an \
         integer (u64, i64, u128, i128), or keep the document's text in a RawObject"
    ))
}

macro_rules! forward {
    ($($method:ident($($name:ident: $type:ty),*) $float:literal;)*) => {
        $(fn $method<V: Visitor<'de>>(self, $($name: $type,)* visitor: V) -> Result<V::Value, D::Error> {
            let Self { inner, long } = self;
            inner.$method($($name,)* Checked { inner: visitor, long, float: $float })
        })*
    };
}

impl<'de, D: de::Deserializer<'de>> de::Deserializer<'de> for Exact<'_, '_, D> {
    type Error = D::Error;

    forward! {
        deserialize_any() false;
        deserialize_bool() false;
        deserialize_i8() false;
        deserialize_i16() false;
        deserialize_i32() false;
        deserialize_i64() false;
        deserialize_i128() false;
        deserialize_u8() false;
        deserialize_u16() false;
        deserialize_u32() false;
        deserialize_u64() false;
        deserialize_u128() false;
        deserialize_f32() true;
        deserialize_f64() true;
        deserialize_char() false;
        deserialize_str() false;
        deserialize_string() false;
        deserialize_bytes() false;
        deserialize_byte_buf() false;
        deserialize_option() false;
        deserialize_unit() false;
        deserialize_unit_struct(name: &'static str) false;
        deserialize_newtype_struct(name: &'static str) false;
        deserialize_seq() false;
        deserialize_tuple(len: usize) false;
        deserialize_tuple_struct(name: &'static str, len: usize) false;
        deserialize_map() false;
        deserialize_struct(name: &'static str, fields: &'static [&'static str]) false;
        deserialize_enum(name: &'static str, variants: &'static [&'static str]) false;
        deserialize_identifier() false;
    }

    /// Ignored values are not saved.
    fn deserialize_ignored_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, D::Error> {
        self.inner.deserialize_ignored_any(visitor)
    }

    fn is_human_readable(&self) -> bool {
        self.inner.is_human_readable()
    }
}

macro_rules! hand_on {
    ($($method:ident($type:ty);)*) => {
        $(fn $method<E: de::Error>(self, value: $type) -> Result<V::Value, E> {
            self.inner.$method(value)
        })*
    };
}

/// Passes on a compound, or the content of an option or a newtype, with its parts checked.
macro_rules! descend {
    ($($method:ident($trait:path);)*) => {
        $(fn $method<A: $trait>(self, inner: A) -> Result<V::Value, A::Error> {
            self.inner.$method(Exact { inner, long: self.long })
        })*
    };
}

impl<'de, V: Visitor<'de>> Visitor<'de> for Checked<'_, '_, V> {
    type Value = V::Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.inner.expecting(f)
    }

    fn visit_i64<E: de::Error>(self, value: i64) -> Result<V::Value, E> {
        if self.float && value as f64 as i128 != i128::from(value) {
            return Err(rounded(value));
        }
        self.inner.visit_i64(value)
    }

    fn visit_u64<E: de::Error>(self, value: u64) -> Result<V::Value, E> {
        if self.float && value as f64 as u128 != u128::from(value) {
            return Err(rounded(value));
        }
        self.inner.visit_u64(value)
    }

    fn visit_f64<E: de::Error>(self, value: f64) -> Result<V::Value, E> {
        let mut beyond = self.long.beyond.iter();
        match beyond.find(|(bits, _)| *bits == value.to_bits()) {
            Some((_, digits)) => Err(rounded(digits)),
            None => self.inner.visit_f64(value),
        }
    }

    hand_on! {
        visit_bool(bool);
        visit_i128(i128);
        visit_u128(u128);
        visit_char(char);
        visit_str(&str);
        visit_borrowed_str(&'de str);
        visit_string(String);
        visit_bytes(&[u8]);
        visit_borrowed_bytes(&'de [u8]);
        visit_byte_buf(Vec<u8>);
    }

    fn visit_unit<E: de::Error>(self) -> Result<V::Value, E> {
        self.inner.visit_unit()
    }

    fn visit_none<E: de::Error>(self) -> Result<V::Value, E> {
        self.inner.visit_none()
    }

    descend! {
        visit_some(de::Deserializer<'de>);
        visit_newtype_struct(de::Deserializer<'de>);
        visit_seq(de::SeqAccess<'de>);
        visit_map(de::MapAccess<'de>);
        visit_enum(de::EnumAccess<'de>);
    }
}

impl<'de, S: DeserializeSeed<'de>> DeserializeSeed<'de> for Checked<'_, '_, S> {
    type Value = S::Value;

    fn deserialize<D: de::Deserializer<'de>>(self, inner: D) -> Result<S::Value, D::Error> {
        let Self {
            inner: seed, long, ..
        } = self;
        seed.deserialize(Exact { inner, long })
    }
}

impl<'l, 't, D> Exact<'l, 't, D> {
    fn part<S>(&self, inner: S) -> Checked<'l, 't, S> {
        Checked {
            inner,
            long: self.long,
            float: false,
        }
    }
}

impl<'de, A: de::SeqAccess<'de>> de::SeqAccess<'de> for Exact<'_, '_, A> {
    type Error = A::Error;

    fn next_element_seed<S: DeserializeSeed<'de>>(
        &mut self,
        seed: S,
    ) -> Result<Option<S::Value>, A::Error> {
        let seed = self.part(seed);
        self.inner.next_element_seed(seed)
    }

    fn size_hint(&self) -> Option<usize> {
        self.inner.size_hint()
    }
}

impl<'de, A: de::MapAccess<'de>> de::MapAccess<'de> for Exact<'_, '_, A> {
    type Error = A::Error;

    fn next_key_seed<S: DeserializeSeed<'de>>(
        &mut self,
        seed: S,
    ) -> Result<Option<S::Value>, A::Error> {
        let seed = self.part(seed);
        self.inner.next_key_seed(seed)
    }

    fn next_value_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<S::Value, A::Error> {
        let seed = self.part(seed);
        self.inner.next_value_seed(seed)
    }

    fn size_hint(&self) -> Option<usize> {
        self.inner.size_hint()
    }
}

impl<'de, 'l, 't, A: de::EnumAccess<'de>> de::EnumAccess<'de> for Exact<'l, 't, A> {
    type Error = A::Error;
    type Variant = Exact<'l, 't, A::Variant>;

    fn variant_seed<S: DeserializeSeed<'de>>(
        self,
        seed: S,
    ) -> Result<(S::Value, Self::Variant), A::Error> {
        let (long, seed) = (self.long, self.part(seed));
        let (value, inner) = self.inner.variant_seed(seed)?;
        Ok((value, Exact { inner, long }))
    }
}

impl<'de, A: de::VariantAccess<'de>> de::VariantAccess<'de> for Exact<'_, '_, A> {
    type Error = A::Error;

    fn unit_variant(self) -> Result<(), A::Error> {
        self.inner.unit_variant()
    }

    fn newtype_variant_seed<S: DeserializeSeed<'de>>(self, seed: S) -> Result<S::Value, A::Error> {
        let seed = self.part(seed);
        self.inner.newtype_variant_seed(seed)
    }

    fn tuple_variant<V: Visitor<'de>>(self, len: usize, visitor: V) -> Result<V::Value, A::Error> {
        let visitor = self.part(visitor);
        self.inner.tuple_variant(len, visitor)
    }

    fn struct_variant<V: Visitor<'de>>(
        self,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, A::Error> {
        let visitor = self.part(visitor);
        self.inner.struct_variant(fields, visitor)
    }
}
