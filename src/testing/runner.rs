//! How the test kit runs generated cases.

use proptest::test_runner::{Config, TestRunner};

/// The number of attempts to shrink a failing case: the default 1,024 leaves long histories half
/// shrunk.
const SHRINK_STEPS: u32 = 65_536;

/// Keeps no file of failing cases: they are printed, and users can put them into tests of their
/// own.
pub(super) fn runner() -> TestRunner {
    TestRunner::new(Config {
        failure_persistence: None,
        max_shrink_iters: SHRINK_STEPS,
        ..Config::default()
    })
}
