//! Rules files and params, without a server: what compiles, which keys it makes, what is refused.

#[cfg(feature = "strategies")]
mod naive;
mod params_hostile;
#[cfg(feature = "strategies")]
mod rules_diff;
mod rules_domain;
#[cfg(feature = "strategies")]
mod rules_explain;
#[cfg(feature = "strategies")]
mod rules_hostile;
mod rules_overlap;
#[cfg(feature = "strategies")]
mod rules_properties;
#[cfg(feature = "strategies")]
mod rules_schema;
