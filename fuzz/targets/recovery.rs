//! An outbox, a journal and a sidecar after a crash.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| cachetx::testing::fuzz::recovery(bytes));
