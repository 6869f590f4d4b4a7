//! Call tests: peers that run somewhere, and what they tell.

pub(crate) mod peers;
