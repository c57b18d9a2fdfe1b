//! A raw object and changes of its members.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| cachetx::testing::fuzz::raw_object(bytes));
