//! The test kit: checks of rules and the model check.

#[cfg(feature = "strategies")]
mod histories;
#[cfg(feature = "strategies")]
mod model;
#[cfg(feature = "testing")]
mod planted;
