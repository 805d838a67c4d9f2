//! For tests: a library in the place of NVIDIA's driver.
//!
//! It has the functions that the runtime calls, on this machine's memory, so that a program for a GPU goes its whole way
//! where there is none. What a real driver does later is done late here too: work waits in its [`queue`] until somebody
//! waits for it, so that a buffer used too early holds the wrong words. Code that is PTX is accepted, and its launches
//! are checked ([`image`]) and do nothing; code that is the text of a `gpu.module` is emulated.
//!
//! `CUDA_STAND_IN_FAULT` makes a driver that fails ([`fault`]), `CUDA_STAND_IN_KIB` sets the device's memory and
//! `CUDA_STAND_IN_ARCH` its architecture.
//!
//! 1. [`api`]: the driver's functions for devices, memory and code; [`streams`]: those for streams, events and graphs.
//! 2. [`state`]: what they share; [`codes`]: their results.

// The functions have the driver's contracts, which its manual has.
#![allow(clippy::missing_safety_doc, missing_docs, non_snake_case)]

mod api;
mod codes;
mod fault;
mod image;
mod memory;
mod queue;
mod state;
mod streams;
