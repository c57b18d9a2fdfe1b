//! The test kit: checks of rules, the model check, and the seeds of the fuzz targets.

#[cfg(feature = "strategies")]
mod histories;
#[cfg(feature = "strategies")]
mod model;
#[cfg(feature = "testing")]
mod planted;
#[cfg(feature = "testing")]
mod seeds;
