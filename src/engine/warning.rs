//! What boot finds wrong.

/// What is wrong with a server, or with its use.
#[derive(Clone, Debug)]
pub(super) struct Warning {
    pub(super) text: String,
    /// The part of the text that stays the same as time passes: each cause is logged once.
    pub(super) cause: String,
}

impl From<String> for Warning {
    fn from(text: String) -> Self {
        let cause = text.clone();
        Self { text, cause }
    }
}
