//! The model check finds a rule that forgets a dependent, and shows the shortest history.

use cachetx::{
    NO_TASKS, Rules,
    testing::{ModelCheck, Truth, Wanted},
};

fn rules(depends_on: &str) -> Rules {
    let text = format!(
        r#"{{ "version": "1.1",
             "cache_keys": {{ "product": "{{{{{{shop}}}}}}:product:{{sku}}", "prices": "{{{{{{shop}}}}}}:prices",
                              "search": "{{{{{{shop}}}}}}:search", "home": "{{{{{{shop}}}}}}:home:{{part}}" }},
             "depends_on": {{ {depends_on} }},
             "rules": {{ "restock": {{ "invalidates_cache": ["search"] }}, "edit_prices": {{ "invalidates_cache": ["prices"] }} }} }}"#
    );
    Rules::from_json(&text).unwrap_or_else(|error| panic!("{error}"))
}

/// The search page shows products and what is in stock; home shows prices.
fn load(wanted: &Wanted<'_>, truth: &Truth) -> Option<String> {
    let shop = wanted
        .params
        .get("shop")
        .map(|_| ("shop", wanted.param("shop")));
    match wanted.controller {
        "search" => {
            let products = truth.all("product", shop);
            Some(format!(
                "{products:?} {}",
                truth.version("stock", wanted.params)
            ))
        }
        "home" => Some(format!("{}", truth.version("prices", wanted.params))),
        _ => None,
    }
}

fn check(rules: &Rules) -> ModelCheck {
    ModelCheck::of(rules)
        .document("product", NO_TASKS)
        .document("prices", ["edit_prices"])
        .source("stock", ["shop"], ["restock"])
}

/// The same in a program that has no home page.
fn load_search(wanted: &Wanted<'_>, truth: &Truth) -> Option<String> {
    load(wanted, truth).filter(|_| wanted.controller == "search")
}

#[test]
fn rules_that_name_all_dependents_pass() {
    let rules = rules(r#""search": ["product"]"#);
    check(&rules).assert(load_search);
}

#[test]
fn a_forgotten_dependent_is_found() {
    let rules = rules(r#""home": ["prices"]"#);
    let found = check(&rules)
        .counterexample(load_search)
        .expect("the check is right");
    assert_eq!(
        found.as_deref(),
        Some(
            r#"`search` is out of date: `{a}:search` is `[] 0` in the cache, and its loader gives `[(["a"], 1)] 0` now
1. load `search`: `{a}:search` is `[] 0`
2. save `product` (`shop` = `a`, `sku` = `a`) with no tasks, which deletes nothing; it has version 1"#
        )
    );
}

/// A save deletes the one part that its params name; the other parts stay.
#[test]
fn a_param_that_a_save_cannot_know_is_found() {
    let rules = rules(r#""search": ["product"], "home": ["prices"]"#);
    let found = check(&rules)
        .counterexample(load)
        .expect("the check is right");
    assert_eq!(
        found.as_deref(),
        Some(
            "`home` is out of date: `{a}:home:a` is `0` in the cache, and its loader gives `1` now\n1. load `home`: `{a}:home:a` is `0`\n2. save `prices` (`shop` = `a`) with `edit_prices`, which deletes `{a}:home:b`; it has version 1"
        )
    );
}

#[test]
fn a_source_that_invalidates_the_wrong_task_is_found() {
    let rules = rules(r#""search": ["product"]"#);
    let check = ModelCheck::of(&rules).source("stock", ["shop"], ["edit_prices"]);
    let found = check.counterexample(load).expect("the check is right");
    assert_eq!(
        found.as_deref(),
        Some(
            "`search` is out of date: `{a}:search` is `[] 0` in the cache, and its loader gives `[] 1` now\n1. load `search`: `{a}:search` is `[] 0`\n2. change `stock` (`shop` = `a`) and invalidate `edit_prices`, which deletes `{a}:prices`; it has version 1"
        )
    );
}

#[test]
fn a_check_that_is_wrong_is_an_error() {
    let rules = rules("");
    let unknown = ModelCheck::of(&rules).document("produkt", NO_TASKS);
    let error = unknown
        .counterexample(load)
        .expect_err("an unknown controller");
    assert!(
        error.to_string().contains("did you mean `product`?"),
        "{error}"
    );
    let unknown = ModelCheck::of(&rules).source("stock", ["shop"], ["restok"]);
    let error = unknown.counterexample(load).expect_err("an unknown task");
    assert!(
        error.to_string().contains("unknown task `restok`"),
        "{error}"
    );
}
