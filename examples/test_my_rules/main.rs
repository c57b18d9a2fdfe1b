//! A program's rules file, and the tests that a program may have for it.
//!
//! `cargo test --features strategies --example test_my_rules` runs the tests.

use cachetx::{BoxError, NO_TASKS, Params, Rules};

const RULES: &str = include_str!("rules.json");

fn main() -> Result<(), BoxError> {
    let rules = Rules::from_json(RULES)?;
    let params = Params::new().with("shop", "harbour").with("sku", "tea");
    for key in rules.expand_for("product", NO_TASKS, &params)?.iter() {
        println!("a save of the product deletes {key}");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use cachetx::testing::{ModelCheck, RulesCheck};

    #[test]
    fn the_rules_delete_what_they_should() {
        RulesCheck::from_json(RULES)
            .documents(["product", "prices"])
            .every_controller_is_reachable()
            .each_save_is_in_one_slot()
            .each_save_needs_only_its_own_params()
            .list_len("sku", 500)
            .no_task_deletes_more_than(502)
            .task_keeps("restock", ["product", "prices"])
            .both_delete("import_products", "restock", ["search", "home"])
            .save_deletes("prices", ["search", "home"])
            .assert();
    }

    /// The rules together with what loads the values: nothing that is cached is ever out of date.
    #[test]
    fn no_cached_value_is_out_of_date() {
        let rules = Rules::from_json(RULES).expect("they compile");
        ModelCheck::of(&rules)
            .document("product", NO_TASKS)
            .document("prices", NO_TASKS)
            .source("stock", ["shop"], ["restock"])
            .assert(|wanted, truth| {
                let shop = [("shop", wanted.param("shop"))];
                let shown = ["product", "prices", "stock"].map(|name| truth.all(name, shop));
                match wanted.controller {
                    "search" => Some(format!("all of {shown:?}")),
                    "home" => Some(format!("the best of {shown:?}")),
                    _ => None,
                }
            });
    }
}
