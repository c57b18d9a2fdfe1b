use super::*;
use crate::raw::RawObject;
use proptest::prelude::*;
use serde::Deserialize;
use serde::de::IgnoredAny;
use serde_json::{Value, value::RawValue};
use std::collections::BTreeMap;

#[derive(Debug, Deserialize)]
struct Climate {
    years: u32,
}

fn said<T: DeserializeOwned>(bytes: impl AsRef<[u8]>) -> String {
    let Err(e) = parse::<T>("climate", bytes.as_ref()) else {
        panic!("it was read");
    };
    assert!(e.is_document());
    assert_eq!(e.effect(), crate::model::Effect::None);
    e.to_string()
}

#[test]
fn what_is_wrong_is_said_with_its_place() {
    let climate: Climate = parse("climate", b" {\"years\": 30, \"more\": 1} \n").unwrap();
    assert_eq!(climate.years, 30);
    for (bytes, expected) in [
        (&b""[..], "climate: empty"),
        (b" \n", "climate: empty"),
        (b"\xef\xbb\xbf{}", "climate: starts with a byte order mark"),
        (
            b"{\"\xc3\xbc\": \"\xff\"}",
            "byte 0xff at line 1, column 8 (byte 8); convert it",
        ),
        (
            b"{\"years\"",
            "ends too early, at line 1, column 9 (byte 8)",
        ),
        (
            b"{\"years\": 1,\n",
            "ends too early, at line 2, column 1 (byte 13)",
        ),
        (
            b"{\"years\": 1}\n}",
            "trailing characters at line 2, column 1 (byte 13); a document is one",
        ),
        (
            b"{\"years\": 1\n \"a\": 2}",
            "expected `,` or `}` at line 2, column 2 (byte 13)",
        ),
        (
            b"{\"years\": 1e400}",
            "climate: a number that ends at line 1, column 15 (byte 14) is out of the range",
        ),
        (b"{\"a\": nan}", "at line 1, column 8 (byte 7)"),
        (
            b"{\"years\": \"many\"}",
            "climate: `years`: invalid type: string \"many\", expected u32, near line 1, column",
        ),
        (
            b"{}",
            "climate: missing field `years`, near line 1, column 2",
        ),
    ] {
        let said = said::<Climate>(bytes);
        assert!(said.contains(expected), "{said}\n{expected}");
    }
}

#[test]
fn a_misfit_names_its_path() {
    type Monthlies = BTreeMap<String, BTreeMap<String, Vec<f64>>>;
    let e = said::<Monthlies>("{\"monthlies\": {\n\"ppts\": [1, 2, \"3\"]}}");
    assert!(e.contains("`monthlies.ppts[2]`: invalid type"), "{e}");
    assert!(e.contains("near line 2, column 18 (byte 33)"), "{e}");

    let e = said::<BTreeMap<String, RawObject>>(r#"{"a": {"b": 1, "b": 2}}"#);
    assert!(e.contains("`a`: the object has two members \"b\""), "{e}");
}

#[test]
fn a_long_value_is_not_quoted_whole() {
    let long = "é".repeat(1 << 20);
    let e = said::<Climate>(format!("{{\"years\": \"{long}\"}}"));
    assert!(e.len() < 2 * crate::model::limits::MAX_MESSAGE_BYTES);
    assert!(
        e.starts_with("climate: `years`: invalid type: string"),
        "{e}"
    );
    assert!(
        e.contains("expected u32, near line 1, column 1048588"),
        "{e}"
    );

    let e = said::<RawObject>(format!("{{\"{long}\": 1, \"{long}\": 2}}"));
    assert!(e.len() < 2 * crate::model::limits::MAX_MESSAGE_BYTES);
    assert!(e.contains("two members \"é"), "{e}");
    assert!(e.contains("at its bytes 1 and 2097160; parsers"), "{e}");
}

#[test]
fn an_error_without_a_place_has_none_made_up() {
    #[derive(Debug)]
    struct Never;
    impl<'de> Deserialize<'de> for Never {
        fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
            IgnoredAny::deserialize(deserializer)?;
            Err(serde::de::Error::custom("never"))
        }
    }
    assert_eq!(said::<Never>("1"), "climate: never");
}

#[test]
fn nesting_is_an_error_or_fine_but_no_overflow() {
    let deep = format!("{}{}", "[".repeat(1 << 20), "]".repeat(1 << 20));
    let said = said::<Value>(&deep);
    assert!(said.contains("nested too deeply"), "{said}");
    parse::<IgnoredAny>("d", deep.as_bytes()).unwrap();
    parse::<RawObject>("d", format!("{{\"a\": {deep}}}").as_bytes()).unwrap();
}

#[test]
fn python_s_words_are_named_and_only_they() {
    for (text, expected) in [
        ("NaN", "`NaN` at line 1, column 1 (byte 0) is not JSON"),
        (" -Infinity", "`-Infinity` at line 1, column 2 (byte 1) is"),
        ("[1,\n Infinity]", "`Infinity` at line 2, column 2 (byte 5)"),
        (r#"{"é": NaN}"#, "`NaN` at line 1, column 7 (byte 7) is"),
        (
            r#"{"NaN": "-Infinity NaN", "b": -Infinity}"#,
            "`-Infinity` at line 1, column 31 (byte 30)",
        ),
    ] {
        let said = said::<Value>(text);
        assert!(said.contains(expected), "{said}\n{expected}");
    }
    for other in ["[NaNo]", "[-NaN]", "[xNaN]", "[Infinity_]", "[-Inf]"] {
        let said = said::<Value>(other);
        assert!(!said.contains("Python"), "{other}: {said}");
    }
    parse::<Value>("d", br#"{"NaN": "Infinity"}"#).unwrap();
}

#[test]
fn python_s_words_are_found_whatever_type_is_read() {
    #[derive(Debug, Deserialize)]
    #[serde(untagged)]
    enum Either {
        #[expect(dead_code)]
        Number(f64),
    }
    /// serde_json has separate code for parsing each of these.
    fn all_types(text: &str) -> [String; 10] {
        [
            said::<BTreeMap<String, (u8, f64)>>(text),
            said::<BTreeMap<String, (u8, f32)>>(text),
            said::<BTreeMap<String, (u8, Option<f64>)>>(text),
            said::<BTreeMap<String, (u8, u64)>>(text),
            said::<BTreeMap<String, (u8, i128)>>(text),
            said::<BTreeMap<String, (u8, bool)>>(text),
            said::<BTreeMap<String, (u8, String)>>(text),
            said::<BTreeMap<String, (u8, ())>>(text),
            said::<BTreeMap<String, (u8, Climate)>>(text),
            said::<BTreeMap<String, (u8, Either)>>(text),
        ]
    }
    for word in NOT_NUMBERS {
        let expected = format!("climate: `{word}` at line 2, column 3 (byte 13) is not JSON");
        for said in all_types(&format!("{{\"é\": [1,\n  {word}]}}")) {
            assert!(said.starts_with(&expected), "{said}");
        }
    }
}

/// A list in pieces. At least one is a number, each number is one piece, and no other piece begins
/// like a number.
fn pieces() -> impl Strategy<Value = Vec<String>> {
    let white = || prop::sample::select(vec!["", "", " ", "\n", "\n\t ", "\r\n"]);
    let string = || {
        prop::sample::select(vec![
            r#""a""#,
            r#""é\n""#,
            r#""NaN""#,
            r#""-Infinity, NaN\"""#,
            r#""𝄞\u00e9""#,
        ])
    };
    const NUMBERS: [&str; 5] = ["0", "-1", "1e-06", "250.0", "1234567890123456789"];
    let leaf = prop_oneof![
        3 => prop::sample::select(&NUMBERS[..]),
        1 => string(),
        1 => Just("null"),
    ];
    let leaf = leaf.prop_map(|text| vec![text.to_owned()]);
    let value = leaf.prop_recursive(4, 40, 5, move |inner| {
        let element = (white(), inner, white()).prop_map(padded);
        let member = (white(), string(), element.clone()).prop_map(|(before, name, value)| {
            let name = format!("{before}{name}:");
            [vec![name], value].concat()
        });
        prop_oneof![
            prop::collection::vec(element, 1..5).prop_map(|all| listed("[", all, "]")),
            prop::collection::vec(member, 1..5).prop_map(|all| listed("{", all, "}")),
        ]
    });
    let last = || vec!["0".to_owned()];
    (white(), value, white())
        .prop_map(move |any| padded(("", listed("[", vec![padded(any), last()], "]"), "\n")))
}

fn padded((before, value, after): (&str, Vec<String>, &str)) -> Vec<String> {
    [vec![before.to_owned()], value, vec![after.to_owned()]].concat()
}

fn listed(open: &str, all: Vec<Vec<String>>, close: &str) -> Vec<String> {
    let inside = all.join(&",".to_owned());
    [vec![open.to_owned()], inside, vec![close.to_owned()]].concat()
}

proptest! {
    #[test]
    fn every_word_is_found_exactly_where_it_stands(
        pieces in pieces(),
        which in any::<prop::sample::Index>(),
        word in prop::sample::select(&NOT_NUMBERS[..]),
    ) {
        let is_number = |n: &usize| pieces[*n].starts_with(|c: char| c == '-' || c.is_ascii_digit());
        let numbers: Vec<usize> = (0..pieces.len()).filter(is_number).collect();
        parse::<IgnoredAny>("d", pieces.concat().as_bytes()).unwrap();

        let at = *which.get(&numbers);
        let before = pieces[..at].concat();
        let text = format!("{before}{word}{}", pieces[at + 1..].concat());
        let line = before.split('\n').count();
        let column = before.rsplit('\n').next().unwrap().chars().count() + 1;
        let expected = format!(
            "climate: `{word}` at line {line}, column {column} (byte {}) is not JSON",
            before.len()
        );
        for said in [
            said::<IgnoredAny>(&text),
            said::<Value>(&text),
            said::<Box<RawValue>>(&text),
            said::<RawObject>(&text),
        ] {
            prop_assert!(said.starts_with(&expected), "{}\n{}", said, expected);
        }
    }

    #[test]
    fn any_bytes_give_a_value_or_an_error_that_names_the_document(bytes in any::<Vec<u8>>()) {
        if let Err(e) = parse::<IgnoredAny>("climate", &bytes) {
            prop_assert!(e.to_string().starts_with("climate: "));
        }
    }

    /// Any cut of a text is refused, and the parser may stop at every byte.
    #[test]
    fn a_cut_text_is_refused(pieces in pieces(), cut in any::<prop::sample::Index>()) {
        let text = pieces.concat();
        let whole = text.trim();
        let cut = whole.floor_char_boundary(cut.index(whole.len()));
        prop_assert!(parse::<Box<RawValue>>("d", &whole.as_bytes()[..cut]).is_err(), "{:?}", &whole[..cut]);
    }
}

#[test]
fn every_beginning_of_a_document_is_cut_short_and_nothing_else() {
    let whole = "{ \"a\": [1, {\"é\": \"}\"}], \"b\": null }".as_bytes();
    for end in 0..whole.len() {
        assert!(is_cut_short(&whole[..end]), "cut at {end}");
    }
    assert!(!is_cut_short(whole));
    for other in [
        &b"{}x"[..],
        b"{\"a\": NaN}",
        b"years: 1",
        b"\xff\xfe{}",
        b"7",
    ] {
        assert!(!is_cut_short(other), "{other:?}");
    }
}

/// Bit for bit: as a value of its own, in a map, in a struct and as `f32`.
#[test]
fn every_float_that_is_written_is_read_back_as_itself() {
    #[derive(Debug, PartialEq, Deserialize, serde::Serialize)]
    struct Floats {
        double: f64,
        single: f32,
    }
    fn read_back<T: DeserializeOwned + serde::Serialize>(value: &T) -> T {
        let text = crate::json::to_text("d", value, crate::json::Style::Compact).unwrap();
        parse("d", text.as_bytes()).unwrap()
    }
    let soak = std::env::var("CACHETX_SOAK").is_ok();
    let mut state = std::hash::BuildHasher::hash_one(&std::hash::RandomState::new(), 0);
    let (seed, mut changed) = (state, 0);
    for _ in 0..if soak { 1_000_000 } else { 100_000 } {
        // xorshift64*
        state ^= state >> 12;
        state ^= state << 25;
        state ^= state >> 27;
        let bits = state.wrapping_mul(0x2545_f491_4f6c_dd1d);
        let (double, single) = (f64::from_bits(bits), f32::from_bits((bits >> 32) as u32));
        if !double.is_finite() || !single.is_finite() {
            continue;
        }
        let back = read_back(&Floats { double, single });
        let equal = |double: f64| double.to_bits() == bits;
        if !equal(back.double) || back.single.to_bits() != single.to_bits() {
            changed += 1;
        }
        if bits.is_multiple_of(16) {
            let value = read_back(&Value::from(double));
            let map = read_back(&BTreeMap::from(
                [("x", double)].map(|(k, v)| (k.to_owned(), v)),
            ));
            if !value.as_f64().is_some_and(equal) || !equal(map["x"]) {
                changed += 1;
            }
        }
    }
    assert_eq!(changed, 0, "floats were changed, seed {seed}");
}

#[test]
fn integers_that_fit_are_kept_whatever_reads_them() {
    let text = r#"{"a": 18446744073709551615, "b": -9223372036854775808, "c": 9007199254740993, "d": 9007199254740991.0}"#;
    let value: Value = parse("d", text.as_bytes()).unwrap();
    let back = crate::json::to_text("d", &value, crate::json::Style::Compact).unwrap();
    assert_eq!(back, text.replace(' ', ""));
    let huge = "340282366920938463463374607431768211455";
    assert_eq!(parse::<u128>("d", huge.as_bytes()).unwrap(), u128::MAX);
    // Kept as text, or ignored.
    let object = format!("{{\"a\": {huge}}}");
    let raw: RawObject = parse("d", object.as_bytes()).unwrap();
    assert_eq!(raw.as_str(), object);
    parse::<IgnoredAny>("d", object.as_bytes()).unwrap();
    // Exact as a float; digits in a string; and a float beside a 128-bit integer that rounds to it.
    assert_eq!(
        parse::<Value>("d", b"18446744073709551616").unwrap(),
        2f64.powi(64)
    );
    let text = r#"{"id": "a\"20000000000000000001", "x": 2e19}"#;
    parse::<Value>("d", text.as_bytes()).unwrap();
    #[derive(Deserialize)]
    struct Wide {
        whole: u128,
        rounded: f64,
    }
    let text = b"{\"whole\": 18446744073709551617, \"rounded\": 18446744073709551616.0}";
    let wide: Wide = parse("d", text).unwrap();
    assert_eq!((wide.whole, wide.rounded), ((1 << 64) + 1, 2f64.powi(64)));
    assert_eq!(
        parse::<f64>("d", b"9007199254740992").unwrap(),
        9_007_199_254_740_992.0
    );
    assert_eq!(
        parse::<f64>("d", b"1234567890123456789e3").unwrap(),
        1.234_567_890_123_456_8e21
    );
    assert_eq!(
        parse::<f64>("d", b"0.12345678901234567890").unwrap(),
        0.123_456_789_012_345_68
    );
}

#[test]
fn integers_that_would_be_rounded_are_refused_with_their_place() {
    let e = said::<Value>("{\n\"run\": {\"id\": 18446744073709551617, \"x\": 1}}");
    assert!(
        e.contains("climate: `run.id`: the integer 18446744073709551617 would be rounded"),
        "{e}"
    );
    assert!(e.contains("near line 2, column 34"), "{e}");
    let e = said::<Value>("[-9223372036854775809]");
    assert!(
        e.contains("`[0]`: the integer -9223372036854775809 would"),
        "{e}"
    );
    let e = said::<BTreeMap<String, f64>>("{\"x\": 9007199254740993}");
    assert!(
        e.contains("`x`: the integer 9007199254740993 would be rounded"),
        "{e}"
    );
    let e = said::<Vec<Option<f32>>>("[null, -9007199254740993]");
    assert!(
        e.contains("`[1]`: the integer -9007199254740993 would be rounded"),
        "{e}"
    );
}
