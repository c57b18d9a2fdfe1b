//! How the test kit runs generated cases.

use proptest::test_runner::{Config, TestRunner};

/// Tries to shrink a failing case so often: the usual 1,024 leave long histories half shrunk.
const SHRINK_STEPS: u32 = 65_536;

/// Keeps no file of failing cases: they are shown, and a test of the user's own can hold them.
pub(super) fn runner() -> TestRunner {
    TestRunner::new(Config {
        failure_persistence: None,
        max_shrink_iters: SHRINK_STEPS,
        ..Config::default()
    })
}
