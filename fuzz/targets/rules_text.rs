//! A rules file: it compiles, or has problems whose positions are in it.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| cachetx::testing::fuzz::rules_text(bytes));
