//! Between the engine's tracks and the queues of encoders and decoders.

pub(super) mod local;
pub(super) mod remote;
