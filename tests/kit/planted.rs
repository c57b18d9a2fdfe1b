//! Bugs planted in rules: the check that is meant for each finds it, and shows the smallest thing that shows it.

#[cfg(feature = "strategies")]
use cachetx::Params;
use cachetx::{Rules, testing::RulesCheck};

/// A shop whose rules are right.
const SHOP: &str = r#"{
  "version": "1.1",
  "cache_keys": {
    "product": "shop:{{{shop}}}:product:{sku}",
    "prices": "shop:{{{shop}}}:prices",
    "search": "shop:{{{shop}}}:search",
    "home": "shop:{{{shop}}}:home"
  },
  "depends_on": { "search": ["product"], "home": ["search", "prices"] },
  "rules": {
    "edit_product": { "invalidates_cache": ["product"] },
    "edit_prices": { "invalidates_cache": ["prices"] },
    "clear_pages": { "invalidates_cache": ["search"] }
  }
}"#;

/// The shop's own test.
fn checked(check: RulesCheck) -> RulesCheck {
    check
        .documents(["product", "prices"])
        .every_controller_is_reachable()
        .cascades_end_within(2)
        .each_save_needs_only_its_own_params()
        .each_save_is_in_one_slot()
        .list_len("sku", 50)
        .no_task_deletes_more_than(100)
        .no_save_deletes_more_than(3)
        .save_deletes("product", ["search", "home"])
        .save_keeps("product", ["prices"])
        .task_deletes("edit_product", ["product", "search", "home"])
        .task_keeps("clear_pages", ["product", "prices"])
        .both_delete("edit_product", "edit_prices", ["home"])
        .save_with_tasks_deletes("prices", ["clear_pages"], ["search", "home"])
        .for_other_programs()
}

trait ForOtherPrograms {
    fn for_other_programs(self) -> Self;
}

impl ForOtherPrograms for RulesCheck {
    /// Another program's rules on the same server.
    fn for_other_programs(self) -> Self {
        let other = r#"{ "version": "1.0", "cache_keys": { "session": "session:{{{user}}}:{id}" }, "rules": {} }"#;
        self.no_key_is_also_of(&Rules::from_json(other).expect("it compiles"))
    }
}

/// The shop with one text in place of another: exactly these failures are found.
#[track_caller]
fn planted(right: &str, wrong: &str, found: &[&str]) {
    assert_eq!(SHOP.matches(right).count(), 1, "{right}");
    let check = checked(RulesCheck::from_json(&SHOP.replace(right, wrong)));
    assert_eq!(check.failures(), found);
}

#[test]
fn rules_that_are_right_pass() {
    checked(RulesCheck::from_json(SHOP)).assert();
}

#[test]
fn two_keys_that_collide() {
    planted(
        r#""shop:{{{shop}}}:home""#,
        r#""shop:{{{shop}}}:product:home""#,
        &[
            "<rules>:7:13: this key can be equal to the key of `product` (both can give `shop:{x}:product:home`; give each its own literal after the last placeholder)",
        ],
    );
}

#[test]
fn a_cascade_without_an_end() {
    planted(
        r#""search": ["product"]"#,
        r#""search": ["product"], "product": ["home"]"#,
        &[
            "<rules>:9:30: a cycle in `depends_on`: `product` -> `home` -> `search` -> `product` (take one of these steps away)",
        ],
    );
}

#[test]
fn a_chain_that_is_too_long() {
    let failures = checked(RulesCheck::from_json(SHOP)).cascades_end_within(0);
    assert_eq!(
        failures.failures(),
        ["a chain of dependents has more than 0 steps: `product` -> `search`"]
    );
}

#[test]
fn a_key_without_the_hash_tag() {
    planted(
        r#""shop:{{{shop}}}:prices""#,
        r#""shop:{shop}:prices""#,
        &[
            "task `edit_prices` has keys in several hash slots, with `shop` = `a`: `shop:a:prices` in slot 2530, `shop:{a}:home` in slot 15495; `prices` is hashed by its whole key, `home` is hashed by `{shop}`",
            "a save of `prices` has keys in several hash slots, with `shop` = `a`: `shop:a:prices` in slot 2530, `shop:{a}:home` in slot 15495; `prices` is hashed by its whole key, `home` is hashed by `{shop}`",
        ],
    );
}

#[test]
fn a_key_with_another_hash_tag() {
    planted(
        r#""shop:{{{shop}}}:product:{sku}""#,
        r#""shop:{shop}:product:{{{sku}}}""#,
        &[
            "task `edit_product` has keys in several hash slots, with `shop` = `b`, `sku` = `a`: `shop:b:product:{a}` in slot 15495, `shop:{b}:search` in slot 3300; `product` is hashed by `{sku}`, `search` is hashed by `{shop}`",
            "a save of `product` has keys in several hash slots, with `shop` = `b`, `sku` = `a`: `shop:b:product:{a}` in slot 15495, `shop:{b}:search` in slot 3300; `product` is hashed by `{sku}`, `search` is hashed by `{shop}`",
        ],
    );
}

#[test]
fn a_controller_that_nothing_deletes() {
    planted(
        r#""prices": "shop"#,
        r#""banner": "shop:{{{shop}}}:banner", "prices": "shop"#,
        &[
            "nothing deletes `banner`: it is no document, no task lists it, and it depends on no document",
        ],
    );
}

#[test]
fn a_forgotten_dependent() {
    planted(
        r#""home": ["search", "prices"]"#,
        r#""home": ["search"]"#,
        &[
            "task `edit_prices` does not delete `home` (such as `shop:{a}:home`); it deletes `prices`",
        ],
    );
}

#[test]
fn a_task_that_does_not_cascade() {
    planted(
        r#""edit_product": { "invalidates_cache": ["product"] }"#,
        r#""edit_product": { "invalidates_cache": ["product"], "cascade": false }"#,
        &[
            "task `edit_product` does not delete `search` (such as `shop:{a}:search`); it deletes `product`",
            "task `edit_product` does not delete `home` (such as `shop:{a}:home`); it deletes `product`",
        ],
    );
}

#[test]
fn an_exception_that_hides_a_dependent() {
    planted(
        r#"{ "invalidates_cache": ["prices"] }"#,
        r#"{ "invalidates_cache": ["prices"], "except": ["home"] }"#,
        &[
            "task `edit_prices` does not delete `home` (such as `shop:{a}:home`); it deletes `prices`",
        ],
    );
}

#[test]
fn a_task_that_deletes_too_much() {
    planted(
        r#"{ "invalidates_cache": ["search"] }"#,
        r#"{ "invalidates_cache": ["*"] }"#,
        &[
            "task `clear_pages` deletes `product` (such as `shop:{a}:product:a`), which it must keep",
            "task `clear_pages` deletes `prices` (such as `shop:{a}:prices`), which it must keep",
        ],
    );
}

#[test]
fn a_save_that_deletes_too_much() {
    let rules = SHOP
        .replace(
            r#""cache_keys": {"#,
            r#""cache_keys": { "photo": "{{{shop}}}:photo:{sku}:{size}", "#,
        )
        .replace(
            r#""depends_on": {"#,
            r#""depends_on": { "photo": ["product"], "#,
        );
    let check = RulesCheck::from_json(&rules)
        .documents(["product"])
        .list_len("size", 8)
        .no_save_deletes_more_than(4);
    assert_eq!(
        check.failures(),
        [
            "a save of `product` deletes 5 keys, over 4, where `size` has 3 values: 3 of `photo`, 1 of `search`, 1 of `home`"
        ]
    );
}

#[test]
fn a_dependent_that_needs_another_param() {
    planted(
        r#""shop:{{{shop}}}:home""#,
        r#""shop:{{{shop}}}:home:{fragment}""#,
        &[
            "a save of `product` deletes `home`, whose key needs `fragment`, which the key of `product` does not have",
            "a save of `prices` deletes `home`, whose key needs `fragment`, which the key of `prices` does not have",
        ],
    );
}

#[test]
fn a_misspelt_task() {
    planted(
        r#""clear_pages""#,
        r#""clear_page""#,
        &["unknown task `clear_pages`; did you mean `clear_page`?"],
    );
}

#[test]
fn a_key_of_another_program() {
    planted(
        r#""shop:{{{shop}}}:home""#,
        r#""session:{{{shop}}}:home""#,
        &["`home` and `session` of the other rules can both have the key `session:{x}:home`"],
    );
}

#[test]
fn lists_in_a_hash_tag() {
    let check = RulesCheck::from_json(SHOP)
        .list_len("shop", 2)
        .each_save_is_in_one_slot();
    assert_eq!(
        check.failures(),
        [
            "task `edit_product` has keys in several hash slots, with `shop` = `a`, `b`: `shop:{a}:product:a` in slot 15495, `shop:{b}:product:a` in slot 3300",
            "task `edit_prices` has keys in several hash slots, with `shop` = `a`, `b`: `shop:{a}:prices` in slot 15495, `shop:{b}:prices` in slot 3300",
            "task `clear_pages` has keys in several hash slots, with `shop` = `a`, `b`: `shop:{a}:search` in slot 15495, `shop:{b}:search` in slot 3300"
        ]
    );
}

#[test]
fn the_shortest_list_that_gives_too_many_keys_is_shown() {
    let check = RulesCheck::from_json(SHOP)
        .list_len("sku", 1_000)
        .no_task_deletes_more_than(100);
    assert_eq!(
        check.failures(),
        [
            "task `edit_product` deletes 101 keys, over 100, where `sku` has 99 values: 99 of `product`, 1 of `search`, 1 of `home`"
        ]
    );
}

#[test]
fn a_file_that_is_not_there() {
    let check = RulesCheck::from_path("rules/no_such_file.json").every_controller_is_reachable();
    let [failure] = check.failures() else {
        panic!("{check:?}")
    };
    assert!(failure.contains("rules/no_such_file.json"), "{failure}");
}

#[test]
fn assert_lists_all_failures() {
    let check = RulesCheck::from_json(SHOP)
        .task_deletes("edit_product", ["prices"])
        .task_keeps("edit_prices", ["home"]);
    let panic = std::panic::catch_unwind(|| check.assert()).expect_err("two failures");
    assert_eq!(
        panic.downcast_ref::<String>().expect("a text"),
        "the rules fail 2 checks:\n- task `edit_product` does not delete `prices` (such as `shop:{a}:prices`); it deletes `product`, `search`, `home`\n- task `edit_prices` deletes `home` (such as `shop:{a}:home`), which it must keep"
    );
}

#[cfg(feature = "strategies")]
#[test]
fn generated_params_are_shrunk() {
    let short = |_: &Rules, params: &Params| {
        let sku = &params.get("sku").expect("every param is there").values()[0];
        match sku.chars().count() {
            0..=5 => Ok(()),
            more => Err(format!("an SKU of {more} characters")),
        }
    };
    let check = RulesCheck::from_json(SHOP).for_all_params("SKUs are short", short);
    assert_eq!(
        check.failures(),
        ["SKUs are short: an SKU of 6 characters, with `shop` = `A`, `sku` = `AAAAAA`"]
    );
}
