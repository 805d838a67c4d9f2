//! Devices on which a bundle runs.
//!
//! A [`Bundle`] is a verified folder; [`Program::load`] builds its tables for one client's keys and loads its code,
//! and [`Program::run`] evaluates it on ciphertexts. On the CPU tiles of kernels are spread over the threads of a
//! [`Pool`]; a bundle with code for GPUs runs on a [`CudaDevice`]. Code that is not in a bundle runs in an [`Executor`]
//! or, on anything that is a [`Device`], in a [`DeviceExecutor`]. [`serve`] does all of it from files to files.

mod accelerator;
mod bundle;
mod cache;
mod cuda;
mod device_executor;
mod error;
mod executor;
mod library;
mod measure;
mod memory;
mod placement;
mod pool;
mod profile;
mod program;
mod serve;
mod tables;
mod test_data;

pub use accelerator::{Begun, Device, Ended};
pub use bundle::{Bundle, runs};
pub use cache::TableWords;
pub use cuda::{CudaDevice, CudaOptions, devices, require_driver};
pub use device_executor::{DeviceExecutor, DeviceMemory};
pub use error::DeviceError;
pub use executor::{Executor, RunReport};
pub use library::LoadedCode;
pub use measure::{Measurement, Trial, measure, median_and_least};
pub use memory::Buffer;
pub use placement::{Placement, Stay, TableSize};
pub use pool::Pool;
pub use profile::{Profile, Span};
pub use program::{LoadOptions, Program};
pub use serve::{Request, Served, serve};
pub use test_data::{TestData, hash_of};
