//! Rules files that were made to hurt: each gets a clear error, none a panic or a hang.

use cachetx::{Error, Params, Rules, limits, testing::strategies};
use proptest::prelude::*;
use std::{fs, path::PathBuf};
use tempfile::TempDir;

/// The first problem's message, of a text that does not compile.
#[track_caller]
fn problem(text: &str) -> String {
    let error = Rules::from_json(text).expect_err("it has problems");
    error.problems()[0].message.clone()
}

#[test]
fn a_file_that_cannot_be_read_says_why() {
    let folder = TempDir::new().expect("a temporary folder");
    let write = |name: &str, bytes: &[u8]| -> PathBuf {
        let path = folder.path().join(name);
        fs::write(&path, bytes).expect("it is written");
        path
    };
    for path in [folder.path().to_owned(), folder.path().join("missing.json")] {
        let error = Rules::from_path(&path).expect_err("no file");
        assert!(error.is_io() && error.problems().is_empty(), "{error}");
        assert!(
            error.to_string().contains(&path.display().to_string()),
            "{error}"
        );
    }
    let good = fs::read("rules/nodb.json").expect("it is there");
    let mut not_utf8 = good.clone();
    let at = good
        .iter()
        .rposition(|byte| *byte == b'c')
        .expect("a letter");
    not_utf8[at] = 0xff;
    let padded = [&good[..], &vec![b' '; limits::MAX_RULES_BYTES - good.len()]].concat();
    for (name, bytes, message) in [
        ("empty.json", &b""[..], "the file is empty"),
        ("not_utf8.json", &not_utf8, "not UTF-8"),
        ("utf16.json", b"\xff\xfe{\0}\0", "not UTF-8"),
        ("nul.json", b"\0", "not JSON: expected value"),
        (
            "truncated.json",
            &good[..good.len() / 2],
            "not JSON: EOF while parsing a string",
        ),
        (
            "too_big.json",
            &[&padded[..], b" "].concat(),
            "the rules are over the limit of 4194304 bytes",
        ),
    ] {
        let path = write(name, bytes);
        let error = Rules::from_path(&path).expect_err(name);
        let [problem] = error.problems() else {
            panic!("{name}: {error}")
        };
        assert_eq!(problem.message, message, "{name}");
        assert_eq!(problem.file, path.display().to_string());
    }
    assert!(Rules::from_path(write("at_the_limit.json", &padded)).is_ok());
    if cfg!(unix) {
        let error = Rules::from_path("/dev/zero").expect_err("without an end");
        assert!(error.to_string().contains("over the limit"), "{error}");
    }
}

#[test]
fn truncated_anywhere_it_is_an_error() {
    let good = fs::read_to_string("rules/minimal.json").expect("it is there");
    let end = good.trim_end().len();
    for cut in 0..end {
        let error = Rules::from_json(&good[..cut]).expect_err("cut");
        assert_eq!(error.problems().len(), 1, "at {cut}: {error}");
    }
    assert!(Rules::from_json(&good[..end]).is_ok());
}

#[test]
fn deep_nesting_is_refused_without_a_stack_for_it() {
    let deep = "[".repeat(1_000_000);
    assert!(problem(&deep).starts_with("not JSON: EOF"));
    let closed = format!("{deep}{}", "]".repeat(1_000_000));
    assert_eq!(problem(&closed), "the file must be an object, not a list");
    let inside =
        format!(r#"{{ "version": "1.1", "cache_keys": {{ "a": {closed} }}, "rules": {{}} }}"#);
    assert_eq!(
        problem(&inside),
        "the cache key of `a` must be a string, not a list"
    );
}

fn members(count: usize, member: impl Fn(usize) -> String) -> String {
    (0..count).map(member).collect::<Vec<_>>().join(",")
}

#[test]
fn too_many_controllers_or_tasks_are_refused() {
    let file = |controllers: usize, tasks: usize| {
        format!(
            r#"{{ "version": "1.0", "cache_keys": {{ {} }}, "rules": {{ {} }} }}"#,
            members(controllers, |n| format!(r#""c{n}": "{{run}}:c{n}""#)),
            members(tasks, |n| format!(
                r#""t{n}": {{ "invalidates_cache": [] }}"#
            )),
        )
    };
    assert!(Rules::from_json(&file(limits::MAX_CONTROLLERS, limits::MAX_TASKS)).is_ok());
    assert_eq!(
        problem(&file(limits::MAX_CONTROLLERS + 1, 0)),
        "4097 controllers are over the limit of 4096"
    );
    assert_eq!(
        problem(&file(0, limits::MAX_TASKS + 1)),
        "4097 tasks are over the limit of 4096"
    );
}

#[test]
fn a_long_chain_is_followed_to_its_end() {
    let count = limits::MAX_CONTROLLERS;
    let chain = |last: usize| {
        format!(
            r#"{{ "version": "1.1", "cache_keys": {{ {} }}, "depends_on": {{ {} }},
                 "rules": {{ {}, "t0": {{ "invalidates_cache": ["c0"] }} }} }}"#,
            members(count, |n| format!(r#""c{n}": "{{run}}:c{n}""#)),
            members(last, |n| format!(r#""c{}": ["c{n}"]"#, (n + 1) % count)),
            members(count - 1, |n| format!(
                r#""t{}": {{ "includes": ["t{n}"] }}"#,
                n + 1
            )),
        )
    };
    let rules = Rules::from_json(&chain(count - 1)).expect("it compiles");
    assert_eq!(
        rules.dependents("c0").expect("it is there").len(),
        count - 1
    );
    let last = format!("t{}", count - 1);
    assert_eq!(
        rules.invalidated_by(&last).expect("it is there").len(),
        count
    );

    let closed = Rules::from_json(&chain(count)).expect_err("a cycle");
    let [problem] = closed.problems() else {
        panic!("{closed}")
    };
    assert!(problem.message.contains("-> … 4081 more … ->"), "{problem}");
}

#[test]
fn past_a_hundred_problems_the_rest_is_counted() {
    let text = format!(
        r#"{{ "version": "1.0", "cache_keys": {{ {} }}, "rules": {{}} }}"#,
        members(2_000, |n| format!(r#""c{n}": "{{""#))
    );
    let error = Rules::from_json(&text).expect_err("2,000 problems");
    let problems = error.problems();
    assert_eq!(problems.len(), 100 + 1);
    assert_eq!(
        problems.last().expect("one").message,
        "and 1900 more, not listed"
    );
    // The first ones of the file, in its order.
    assert!(
        problems[..100]
            .iter()
            .enumerate()
            .all(|(n, it)| it.message.ends_with(&format!("`c{n}`")))
    );
}

/// Long templates whose keys differ in nothing but how many braces are in their middle.
#[test]
fn templates_that_are_too_much_alike_are_refused_in_bounded_time() {
    let template = |n: usize| {
        let separator = char::from(b'a' + n as u8);
        format!(
            "{}{}!",
            format!("{{p}}{separator}").repeat(190),
            "{{{p}".repeat(n + 1)
        )
    };
    let text = format!(
        r#"{{ "version": "1.1", "cache_keys": {{ {} }}, "rules": {{}} }}"#,
        members(26, |n| format!(r#""c{n}": "{}""#, template(n)))
    );
    assert_eq!(
        problem(&text),
        "the templates are too much alike to prove that their keys differ"
    );
}

/// Whatever the text is: rules that expand, or problems with places that are in the text.
fn compiles_or_says_why(text: &str) -> Result<(), TestCaseError> {
    let error: Error = match Rules::from_json(text) {
        Err(error) => error,
        Ok(rules) => {
            let tasks: Vec<&str> = rules.tasks().collect();
            let params = Params::new()
                .with("run_id", "A")
                .with("scenario", "A")
                .with("year", "A");
            let keys = rules.expand(tasks, &params);
            prop_assert!(keys.is_ok() || keys.is_err_and(|error| error.is_params()));
            prop_assert_eq!(rules.slot_check().tasks.len(), rules.tasks().len());
            return Ok(());
        }
    };
    prop_assert!(!error.problems().is_empty());
    for problem in error.problems() {
        prop_assert!(text.get(problem.span.clone()).is_some(), "{:?}", problem);
        let before = &text[..problem.span.start];
        prop_assert_eq!(problem.line as usize, before.matches('\n').count() + 1);
        let line = before.rsplit('\n').next().unwrap_or(before);
        prop_assert_eq!(problem.column as usize, line.chars().count() + 1);
    }
    prop_assert!(
        error
            .problems()
            .is_sorted_by_key(|problem| problem.span.start)
    );
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: ProptestConfig::default().cases * 4, ..ProptestConfig::default() })]

    #[test]
    fn mutated_rules_compile_or_say_why(text in strategies::hostile_rules()) {
        compiles_or_says_why(&text)?;
    }

    #[test]
    fn any_text_compiles_or_says_why(text in any::<String>()) {
        compiles_or_says_why(&text)?;
    }

    /// Any template: what compiles has one key for fitting params, and another for others.
    #[test]
    fn any_template_compiles_or_says_why(template in "([{}]{1,3}|[ab:é\\PC]|\\{[ab]\\}){0,8}") {
        let file = serde_json::json!({ "version": "1.1", "cache_keys": { "it": template }, "rules": {} });
        compiles_or_says_why(&file.to_string())?;
    }

    #[test]
    fn any_bytes_in_a_file_compile_or_say_why(bytes in prop::collection::vec(any::<u8>(), 0..64)) {
        let file = tempfile::NamedTempFile::new()?;
        fs::write(file.path(), &bytes)?;
        let error = Rules::from_path(file.path()).expect_err("no rules are so short");
        prop_assert!(error.is_rules());
        prop_assert_eq!(error.problems()[0].message == "not UTF-8", std::str::from_utf8(&bytes).is_err());
    }
}

/// Each of many controllers depends on the one before it and has a placeholder of its own.
#[test]
fn warnings_of_further_params_are_made_in_bounded_time() {
    let count = 4_096;
    let keys = (0..count).map(|n| format!(r#""c{n}": "c{n}:{{p{n}}}""#));
    let chain = (1..count).map(|n| format!(r#""c{n}": ["c{}"]"#, n - 1));
    let (keys, chain): (Vec<_>, Vec<_>) = (keys.collect(), chain.collect());
    let text = format!(
        r#"{{ "version": "1.1", "cache_keys": {{ {} }}, "depends_on": {{ {} }}, "rules": {{}} }}"#,
        keys.join(", "),
        chain.join(", ")
    );
    let begun = std::time::Instant::now();
    let rules = Rules::from_json(&text).expect("it compiles");
    assert!(begun.elapsed().as_secs() < 20, "{:?}", begun.elapsed());
    // A hundred, and one that counts the others.
    assert_eq!(rules.warnings().len(), 101);
}
