//! What the library warns of. A test that fails shows it, and a test can count it.

use std::{
    sync::{Mutex, Once, OnceLock},
    time::Instant,
};

/// Those of all tests in this process.
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

/// From now on, in this process.
pub fn listen() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        log::set_logger(&Warnings).expect("the only one");
        log::set_max_level(log::LevelFilter::Warn);
    });
}

/// How many have these words.
pub fn with(words: &str) -> usize {
    let all = ALL.lock().expect("not poisoned");
    all.iter().filter(|it| it.contains(words)).count()
}
