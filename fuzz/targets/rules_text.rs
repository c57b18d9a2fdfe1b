//! A rules file: it compiles, or has problems that point into it.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| cachetx::testing::fuzz::rules_text(bytes));
