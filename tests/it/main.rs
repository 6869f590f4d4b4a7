//! The whole program beside real servers: one test binary, a module a behaviour.
//!
//! `cargo test --test it lab::` runs one module. [`support`] has what the modules share: the program under test, the
//! servers, a browser, namespaces, and the turns that tests take on a small machine.
//!
//! - Calls: [`calls`], [`outcomes`], [`standing`], [`answering`], [`early`], [`habits`], [`files`], [`devices`],
//!   [`plugging`], [`clocks`]
//! - Networks: [`lab`], [`relays`], [`logins`], [`proxies`], [`impair`], [`links`], [`serve`], [`servers`], [`serving`]
//! - Strangers: [`hostile`], [`rights`], [`sealed`], [`secrets`], [`unanswered`], [`words`]
//! - Clients of other makes: [`apprtc`], [`browser`], [`foreign`], [`sounds`]
//! - Commands beside calls: [`agents`], [`config`], [`demo`], [`doctor`], [`load`], [`runs`], [`trace`]
//! - What is told and measured: [`limits`], [`quality`], [`unread`]
#![allow(clippy::unwrap_used, clippy::print_stderr, reason = "a test may panic, and shows what it saw when it does")]

mod support;

mod agents;
mod answering;
mod apprtc;
mod browser;
mod calls;
mod clocks;
mod config;
mod demo;
mod devices;
mod doctor;
mod early;
mod files;
mod foreign;
mod habits;
mod hostile;
mod impair;
mod lab;
mod limits;
mod links;
mod load;
mod logins;
mod outcomes;
mod plugging;
mod proxies;
mod quality;
mod relays;
mod rights;
mod runs;
mod sealed;
mod secrets;
mod serve;
mod servers;
mod serving;
mod sounds;
mod standing;
mod trace;
mod unanswered;
mod unread;
mod words;
