//! One file a command: from what was typed to an exit status.

pub(crate) mod agent;
pub(crate) mod call;
pub(crate) mod config;
pub(crate) mod contacts;
pub(crate) mod demo;
pub(crate) mod devices;
pub(crate) mod doctor;
pub(crate) mod id;
mod keys;
pub(crate) mod listen;
pub(crate) mod load;
pub(crate) mod log;
pub(crate) mod pages;
pub(crate) mod redial;
mod report;
pub(crate) mod serve;
pub(crate) mod test;
pub(crate) mod trace;
