//! Properties over generated params.

use super::{RulesCheck, sample};
use crate::{
    rules::{Params, Rules},
    testing::{runner::runner, strategies},
};
use proptest::test_runner::{TestCaseError, TestError};

impl RulesCheck {
    /// Checks a property of your own for generated params that the rules accept, lists among them.
    /// If it fails, the params are shrunk to the smallest ones that still fail.
    ///
    /// `PROPTEST_CASES` sets the number of cases, 256 by default.
    ///
    /// # Examples
    ///
    /// ```
    /// use cachetx::testing::RulesCheck;
    ///
    /// RulesCheck::from_path("rules/nodb.json")
    ///     .for_all_params("keys have the program's prefix", |rules, params| {
    ///         let keys = rules.expand(["project_init"], params).map_err(|e| e.to_string())?;
    ///         match keys.iter().find(|key| !key.starts_with("nodb_cache:")) {
    ///             Some(key) => Err(format!("`{key}` has another prefix")),
    ///             None => Ok(()),
    ///         }
    ///     })
    ///     .assert();
    /// ```
    pub fn for_all_params(
        self,
        what: &str,
        property: impl Fn(&Rules, &Params) -> Result<(), String>,
    ) -> Self {
        self.each(|rules| {
            let run = runner().run(&strategies::params(rules), |params| {
                property(rules, &params).map_err(TestCaseError::fail)
            });
            match run {
                Ok(()) => Vec::new(),
                Err(TestError::Fail(why, params)) => {
                    vec![format!("{what}: {why}, with {}", sample::shown(&params))]
                }
                Err(TestError::Abort(why)) => vec![format!("{what}: {why}")],
            }
        })
    }
}
