//! Params as JSON.

use cachetx::{ParamValue, Params};
use serde_json::{Value, json};

pub(crate) fn params(params: &Params) -> Value {
    let value = |value: &ParamValue| match value {
        ParamValue::One(value) => json!(value),
        list => json!(list.values()),
    };
    params
        .iter()
        .map(|(name, given)| (name.to_owned(), value(given)))
        .collect()
}
