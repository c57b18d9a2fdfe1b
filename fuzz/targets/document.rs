//! A document's file, read as several types and written again.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| cachetx::testing::fuzz::document(bytes));
