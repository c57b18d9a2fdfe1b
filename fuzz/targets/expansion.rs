//! Expansions of built-in rules with hostile params.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| cachetx::testing::fuzz::expansion(bytes));
