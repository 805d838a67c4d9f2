//! Devices on which a bundle runs.
//!
//! A [`Bundle`] is a verified folder; [`Program::load`] builds its tables for one client's keys and loads its code,
//! and [`Program::run`] evaluates it on ciphertexts. Today there is one device, the CPU: tiles of kernels are spread
//! over the threads of a [`Pool`]. Code that is not in a bundle runs in an [`Executor`]. [`serve`] does all of it from files to
//! files.

mod bundle;
mod error;
mod executor;
mod library;
mod memory;
mod pool;
mod profile;
mod program;
mod serve;
mod tables;

pub use bundle::{Bundle, runs};
pub use error::DeviceError;
pub use executor::{Executor, RunReport};
pub use memory::Buffer;
pub use pool::Pool;
pub use profile::{Profile, Span};
pub use program::{LoadOptions, Program};
pub use serve::{Request, Served, serve};
