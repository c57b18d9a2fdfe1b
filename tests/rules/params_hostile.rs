//! Params and tasks that were made to hurt: each is refused with the reason before any key is made.

use cachetx::{KeyList, NO_TASKS, ParamValue, Params, Rules, UnknownTasks, limits};

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
        "param `run` is missing, which the key of `a` (`{run}:a`, invalidated by the task `all`) needs",
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
fn what_is_missing_is_said_with_the_task_or_the_document_that_needs_it() {
    let text = r#"{ "version": "1.1",
        "cache_keys": { "shop": "{shop}:shop", "home": "{shop}:home:{lang}", "page": "{shop}:page:{n}" },
        "depends_on": { "home": ["shop"] },
        "rules": { "sell": { "invalidates_cache": ["shop"] }, "print": { "invalidates_cache": ["page"] } } }"#;
    let rules = Rules::from_json(text).expect("it compiles");
    let params = Params::new().with("shop", "s");
    refused(
        rules.expand_for("shop", NO_TASKS, &params),
        "param `lang` is missing, which the key of `home` (`{shop}:home:{lang}`, which depends on `shop`) needs",
    );
    refused(
        rules.expand_for("shop", ["print"], &params.clone().with("lang", "de")),
        "param `n` is missing, which the key of `page` (`{shop}:page:{n}`, invalidated by the task `print`) needs",
    );
    refused(
        rules.expand(["print", "sell"], &params.with("n", "1")),
        "param `lang` is missing, which the key of `home` (`{shop}:home:{lang}`, invalidated by the task `sell`) needs",
    );
    refused(
        rules.expand(["home"], &Params::new()),
        "unknown task `home`; that is a controller; the task `sell` invalidates it",
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
    let tagged = rules(r#""doc": "{{{run}}}:d:{doc}""#);
    let bare = rules(r#""doc": "{run}:{doc}""#);
    let bare_and_tagged = rules(r#""doc": "{run}:{doc}", "odd": "{{{run}:{other}}}:{doc}""#);
    let leases = rules(r#""doc": "{run}:{doc}:x""#);
    let params = |run: &str, doc: &str| Params::new().with("run", run).with("doc", doc);
    for ending in ["stamp", "leases", "lock", "fence", "lock:fence"] {
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
        "x:0123456789abcdef0123456789abcdef",
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
    // The tag of a key may hold an opening brace, which its hash of leases then has too.
    let odd = rules(r#""odd": "{{{{{run}}}{run}cachetx{run}leases""#);
    refused(
        all(&odd, &params(":", "x")),
        "`{{:}:cachetx:leases`, which is the name of a hash of leases",
    );
    assert_eq!(
        all(&leases, &params("cachetx", "lease"))
            .expect("it fits")
            .len(),
        1
    );
}
