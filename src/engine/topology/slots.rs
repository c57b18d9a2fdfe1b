//! Which node of a Cluster has which slots, according to one of its nodes.

use crate::engine::address::Address;
use redis::Value;

/// Adjacent slots that one primary serves.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Served {
    pub(super) first: u16,
    pub(super) last: u16,
    pub(super) by: Address,
}

/// Parses the answer to CLUSTER SLOTS, in the order of the slots; `None` if it is something else.
pub(super) fn parse(answer: &Value, asked: Option<&Address>) -> Option<Vec<Served>> {
    let Value::Array(rows) = answer else {
        return None;
    };
    let served: Option<Vec<_>> = rows.iter().map(|row| row_of(row, asked)).collect();
    let mut served = served?;
    served.sort_by_key(|served| served.first);
    Some(served)
}

/// First slot, last slot, the primary, its replicas.
fn row_of(row: &Value, asked: Option<&Address>) -> Option<Served> {
    let Value::Array(parts) = row else {
        return None;
    };
    let [first, last, Value::Array(primary), ..] = &parts[..] else {
        return None;
    };
    let [host, port, ..] = &primary[..] else {
        return None;
    };
    let host = match host {
        Value::BulkString(host) => String::from_utf8(host.clone()).ok()?,
        Value::Nil => String::new(),
        _ => return None,
    };
    Some(Served {
        first: number(first)?,
        last: number(last)?,
        by: Address::new(host, number(port)?).told_by(asked),
    })
}

fn number(value: &Value) -> Option<u16> {
    match value {
        Value::Int(n) => u16::try_from(*n).ok(),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(first: i64, last: i64, host: Value, port: i64) -> Value {
        let primary = vec![host, Value::Int(port), Value::BulkString(b"id".to_vec())];
        Value::Array(vec![
            Value::Int(first),
            Value::Int(last),
            Value::Array(primary),
        ])
    }

    #[test]
    fn rows_are_sorted_and_a_missing_host_is_the_one_asked() {
        let host = |text: &str| Value::BulkString(text.as_bytes().to_vec());
        let answer = Value::Array(vec![
            row(100, 200, host("b"), 2),
            row(0, 99, Value::Nil, 1),
            row(201, 201, host("?"), 3),
            row(202, 300, host(""), 4),
        ]);
        let asked = Address::new("a", 9);
        let served = parse(&answer, Some(&asked)).unwrap();
        let told: Vec<String> = served
            .iter()
            .map(|s| format!("{}-{} {}", s.first, s.last, s.by))
            .collect();
        assert_eq!(
            told,
            ["0-99 a:1", "100-200 b:2", "201-201 a:3", "202-300 a:4"]
        );
    }

    #[test]
    fn nonsense_is_no_map() {
        assert_eq!(parse(&Value::Okay, None), None);
        assert_eq!(parse(&Value::Array(vec![Value::Int(1)]), None), None);
        let far = row(0, 70_000, Value::Nil, 1);
        assert_eq!(parse(&Value::Array(vec![far]), None), None);
    }
}
