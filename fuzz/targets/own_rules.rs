//! Expansions of a user's own rules file with hostile params. `CACHETX_FUZZ_RULES` is its path.
#![no_main]

use cachetx::{Rules, testing::fuzz};
use std::sync::LazyLock;

static RULES: LazyLock<Rules> = LazyLock::new(|| {
    let path = std::env::var_os("CACHETX_FUZZ_RULES")
        .unwrap_or_else(|| concat!(env!("CARGO_MANIFEST_DIR"), "/../rules/nodb.json").into());
    Rules::from_path(&path).unwrap_or_else(|error| panic!("CACHETX_FUZZ_RULES: {error}"))
});

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| fuzz::own_rules(&RULES, bytes));
