//! A dead process's outbox, taken over from a folder for temporary files.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| cachetx::testing::fuzz::take_over(bytes));
