//! Rules files and params, without a server: what compiles, which keys it makes, what is refused.

#[cfg(feature = "testing")]
mod naive;
mod params_hostile;
mod rules_domain;
#[cfg(feature = "testing")]
mod rules_hostile;
mod rules_overlap;
#[cfg(feature = "testing")]
mod rules_properties;
