//! What the library logs. A failing test shows the warnings, and a test can count them, and what is
//! logged for information.

use std::{
    sync::{Mutex, Once, OnceLock},
    time::Instant,
};

/// The warnings of all tests in this process.
static ALL: Mutex<Vec<String>> = Mutex::new(Vec::new());

/// What is no warning.
static INFORMATION: Mutex<Vec<String>> = Mutex::new(Vec::new());

struct Warnings;

impl log::Log for Warnings {
    fn enabled(&self, metadata: &log::Metadata<'_>) -> bool {
        metadata.level() <= log::Level::Info
    }

    fn log(&self, record: &log::Record<'_>) {
        static START: OnceLock<Instant> = OnceLock::new();
        let text = record.args().to_string();
        if record.level() == log::Level::Info {
            INFORMATION.lock().expect("not poisoned").push(text);
        } else if record.level() <= log::Level::Warn {
            let at = START.get_or_init(Instant::now).elapsed();
            println!("{} after {at:.3?}: {text}", record.level());
            ALL.lock().expect("not poisoned").push(text);
        }
    }

    fn flush(&self) {}
}

/// Collects warnings from now on, in this process.
pub fn listen() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        log::set_logger(&Warnings).expect("the only one");
        log::set_max_level(log::LevelFilter::Info);
    });
}

/// How many contain these words.
pub fn with(words: &str) -> usize {
    with_both(words, "")
}

pub fn with_both(words: &str, others: &str) -> usize {
    count(&ALL, words, others)
}

/// How much information has these words.
pub fn information_with(words: &str) -> usize {
    count(&INFORMATION, words, "")
}

fn count(records: &Mutex<Vec<String>>, words: &str, others: &str) -> usize {
    let records = records.lock().expect("not poisoned");
    records
        .iter()
        .filter(|it| it.contains(words) && it.contains(others))
        .count()
}
