//! The library's warnings. A failing test shows them, and a test can count them.

use std::{
    sync::{Mutex, Once, OnceLock},
    time::Instant,
};

/// The warnings of all tests in this process.
static ALL: Mutex<Vec<String>> = Mutex::new(Vec::new());

struct Warnings;

impl log::Log for Warnings {
    fn enabled(&self, metadata: &log::Metadata<'_>) -> bool {
        metadata.level() <= log::Level::Warn
    }

    fn log(&self, record: &log::Record<'_>) {
        static START: OnceLock<Instant> = OnceLock::new();
        if self.enabled(record.metadata()) {
            let text = record.args().to_string();
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
        log::set_max_level(log::LevelFilter::Warn);
    });
}

/// How many contain these words.
pub fn with(words: &str) -> usize {
    let all = ALL.lock().expect("not poisoned");
    all.iter().filter(|it| it.contains(words)).count()
}
