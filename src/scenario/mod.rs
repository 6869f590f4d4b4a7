//! Tests of calls: what plays a part in one.

pub(crate) mod peers;
