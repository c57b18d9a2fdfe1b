//! Rules and params that were made to hurt: each gets a clear error, none a panic, a hang or a wrong key.

use cachetx::{
    Error, KeyList, NO_TASKS, ParamValue, Params, Rules, UnknownTasks, limits, testing::strategies,
};
use proptest::prelude::*;
use std::{fs, path::PathBuf};
use tempfile::TempDir;

/// A 1.1 file with these members of `cache_keys`, and a task `all`.
fn rules(keys: &str) -> Rules {
    let text = format!(
        r#"{{ "version": "1.1", "cache_keys": {{ {keys} }}, "rules": {{ "all": {{ "invalidates_cache": ["*"] }} }} }}"#
    );
    Rules::from_json(&text).unwrap_or_else(|error| panic!("{error}"))
}

fn numbered(count: usize) -> Vec<String> {
    (0..count).map(|n| n.to_string()).collect()
}

fn all(rules: &Rules, params: &Params) -> cachetx::Result<KeyList> {
    rules.expand(["all"], params)
}

#[track_caller]
fn refused<T>(result: cachetx::Result<T>, says: &str) {
    let error = result
        .err()
        .unwrap_or_else(|| panic!("accepted, where it should say: {says}"));
    assert!(error.is_params(), "{error}");
    assert!(error.to_string().contains(says), "{error}");
}

/// The first problem's message, of a text that does not compile.
#[track_caller]
fn problem(text: &str) -> String {
    let error = Rules::from_json(text).expect_err("it has problems");
    error.problems()[0].message.clone()
}

#[test]
fn ten_thousand_keys_are_taken_and_one_more_is_not() {
    let ten = rules(r#""a": "{x}:{y}:a""#);
    let params = Params::new()
        .with("x", numbered(10))
        .with("y", numbered(1_000));
    assert_eq!(
        all(&ten, &params).expect("at the limit").len(),
        limits::MAX_KEYS
    );
    let more = rules(r#""a": "{x}:{y}:a", "b": "one:b""#);
    refused(
        all(&more, &params),
        "10001 keys are over the limit of 10000",
    );
    // The product is counted before anything is made: this one would be 10^12 keys.
    let huge = rules(r#""a": "{x}:{y}:{z}:{w}:a""#);
    let params = params
        .with("x", numbered(1_000))
        .with("z", numbered(1_000))
        .with("w", numbered(1_000));
    refused(all(&huge, &params), "1000000000000 keys are over the limit");
}

#[test]
fn the_bytes_of_all_keys_are_bounded() {
    let long = rules(&format!(r#""a": "{}{{y}}:a""#, "{x}:".repeat(200)));
    let params = |keys| {
        Params::new()
            .with("x", "v".repeat(limits::MAX_PARAM_BYTES))
            .with("y", numbered(keys))
    };
    assert_eq!(all(&long, &params(100)).expect("5 MiB").len(), 100);
    refused(
        all(
            &long,
            &params(1_000).with("x", vec!["v".repeat(256), "w".repeat(256)]),
        ),
        "bytes in all",
    );
}

#[test]
fn bad_values_are_refused_with_the_reason() {
    let rules = rules(r#""a": "nodb:{run}:a:{year}""#);
    let with = |run: &str| all(&rules, &Params::new().with("run", run).with("year", "1"));
    for (value, says) in [
        ("a{b", "param `run` (`a{b`) contains `{`"),
        ("a}b", "contains `}`"),
        ("a:b", "contains `:`, which ends the placeholder there"),
        ("a\0b", r"param `run` (`a\0b`) contains `\0`"),
        ("a\nb", r"contains `\n`"),
        ("a\u{7f}b", r"contains `\u{7f}`"),
        ("a\u{85}b", r"contains `\u{85}`"),
        ("", "param `run` is empty"),
        (
            &"x".repeat(300),
            "param `run` has 300 bytes, over the limit of 256",
        ),
        (&"é".repeat(129), "param `run` has 258 bytes"),
    ] {
        refused(with(value), says);
    }
    for fine in [
        "x".repeat(256),
        "é".repeat(128),
        "copacetic-sled;;omni".to_owned(),
        " ".to_owned(),
        "../..".to_owned(),
    ] {
        assert!(with(&fine).is_ok(), "{fine}");
    }
    // What ends one placeholder may stand in another.
    let params = Params::new().with("run", "r").with("year", "a:b");
    assert!(
        all(&rules, &params)
            .expect("it fits")
            .iter()
            .eq(["nodb:r:a:a:b"])
    );
    // And all of them fit once they are encoded.
    for raw in ["a{b", "a:b", "a\0b", "é\n"] {
        let params = Params::new()
            .with("run", ParamValue::encoded(raw))
            .with("year", "1");
        assert_eq!(
            all(&rules, &params).expect("it is encoded").len(),
            1,
            "{raw}"
        );
    }
}

#[test]
fn missing_repeated_and_empty_params_are_refused() {
    let rules = rules(r#""a": "{run}:a""#);
    refused(
        all(&rules, &Params::new()),
        "param `run` is missing, which the key of `a` (`{run}:a`) needs",
    );
    let twice: Params = [("run", "x"), ("run", "y")].into_iter().collect();
    refused(all(&rules, &twice), "param `run` is given twice");
    let list = |values: Vec<String>| Params::new().with("run", values);
    refused(
        all(&rules, &list(Vec::new())),
        "param `run` is an empty list",
    );
    refused(
        all(&rules, &list(numbered(1_001))),
        "param `run` has 1001 values, over the limit of 1000",
    );
    refused(
        all(&rules, &list(vec!["x".to_owned(), String::new()])),
        "param `run` is empty",
    );
    // A key that is one needs one value: the same one twice is one.
    refused(rules.key("a", &list(numbered(2))), "needs exactly one here");
    assert_eq!(
        rules
            .key("a", &list(vec!["x".to_owned(); 2]))
            .expect("one value"),
        "x:a"
    );
    refused(
        rules.expand_for("a", NO_TASKS, &list(numbered(2))),
        "needs exactly one here",
    );
}

#[test]
fn unknown_names_are_refused_unless_tasks_may_be_unknown() {
    let text = r#"{ "version": "1.0", "cache_keys": { "climate": "{run}:climate" }, "rules": { "build": { "invalidates_cache": ["climate"] } } }"#;
    let rules = Rules::from_json(text).expect("it compiles");
    let params = Params::new().with("run", "r");
    refused(
        rules.expand(["biuld"], &params),
        "unknown task `biuld`; did you mean `build`?",
    );
    refused(
        rules.expand(["build", "\u{1b}[2J"], &params),
        r"unknown task `\u{1b}[2J`",
    );
    refused(rules.expand([""], &params), "unknown task ``");
    refused(
        rules.expand_for("climat", ["build"], &params),
        "unknown controller `climat`; did you mean `climate`?",
    );
    refused(
        rules.key(&"x".repeat(100_000), &params),
        &format!("unknown controller `{}`", "x".repeat(60)),
    );
    refused(
        rules.expand(vec!["build"; limits::MAX_TASKS + 1], &params),
        "over the limit of 4096 tasks",
    );

    let lenient = Rules::builder()
        .unknown_tasks(UnknownTasks::Ignore)
        .from_json(text)
        .expect("it compiles");
    assert!(
        lenient
            .expand(["biuld"], &params)
            .expect("ignored")
            .is_empty()
    );
    assert_eq!(
        lenient
            .expand(["biuld", "build"], &params)
            .expect("ignored")
            .len(),
        1
    );
    refused(
        lenient.expand_for("climat", NO_TASKS, &params),
        "unknown controller",
    );
}

/// A value that makes one key into what is kept beside another is refused; its neighbours are not.
#[test]
fn values_cannot_make_a_key_into_one_of_the_librarys_own() {
    let commit = "0123456789abcdef0123456789abcdef";
    let tagged = rules(r#""doc": "{{{run}}}:d:{doc}""#);
    let bare = rules(r#""doc": "{run}:{doc}""#);
    let bare_and_tagged = rules(r#""doc": "{run}:{doc}", "odd": "{{{run}:{other}}}:{doc}""#);
    let leases = rules(r#""doc": "{run}:{doc}:x""#);
    let params = |run: &str, doc: &str| Params::new().with("run", run).with("doc", doc);
    for ending in ["stamp", "leases", "lock", "fence", "lock:fence", commit] {
        let doc = format!("x:{ending}");
        refused(
            all(&tagged, &params("r", &doc)),
            "which is kept beside an entry of `doc`",
        );
        refused(
            tagged.key("doc", &params("r", &doc)),
            "which is kept beside an entry of `doc`",
        );
    }
    for fine in [
        "stamp",
        "x:stamps",
        "x:Stamp",
        "x:lock:fences",
        &format!("x:{}", &commit[1..]),
        &format!("x:{commit}0"),
    ] {
        assert_eq!(
            all(&tagged, &params("r", fine)).expect("it fits").len(),
            1,
            "{fine}"
        );
    }
    // Beside a key without a tag lies `{key}:stamp`: another key can be that, its own template's cannot.
    assert_eq!(
        all(&bare, &params("r", "x:stamp")).expect("it fits").len(),
        1
    );
    let beside = params("r", "stamp").with("other", "x");
    refused(
        all(&bare_and_tagged, &beside),
        "`{r:x}:stamp`, which is kept beside an entry of `doc`",
    );
    assert_eq!(
        all(&bare_and_tagged, &beside.with("doc", "stamps"))
            .expect("it fits")
            .len(),
        2
    );
    refused(
        all(&leases, &params("cachetx", "leases")),
        "which is the name of a hash of leases",
    );
    assert_eq!(
        all(&leases, &params("cachetx", "lease"))
            .expect("it fits")
            .len(),
        1
    );
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
    assert_eq!(problems.len(), limits::MAX_PROBLEMS + 1);
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
