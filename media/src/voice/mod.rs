//! What is done to sound between a device or a file and a codec. Pure; no device, no clock.
//!
//! - [`resample`]: samples of one rate → samples of another

pub(crate) mod resample;
