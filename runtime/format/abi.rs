//! The binary interface between a compiled host program and the runtime that executes it.
//!
//! The program is a shared library without undefined symbols beyond `memcpy`, `memset` and `memmove`. It exports one
//! function, [`ENTRY`], of type [`Entry`]. All buffers hold 32-bit words and lie at multiples of [`ALIGNMENT`].

use std::ffi::c_void;

/// The function that a host program exports.
pub const ENTRY: &str = "ceria_main_v2";

/// Every table, input, output and arena begins at a multiple of this.
pub const ALIGNMENT: usize = 64;

/// One tile of a kernel: its arguments (addresses and numbers, 64 bits each), the tile's number, and scratch memory
/// that no other tile uses meanwhile.
pub type KernelFn = unsafe extern "C" fn(arguments: *const u64, tile: u64, scratch: *mut u32);

/// Runs tiles `0..tiles` of a kernel in any order and returns when all are done. `number` is the kernel's place in
/// the manifest.
pub type ParallelFor = unsafe extern "C" fn(
    runtime: *const Runtime,
    kernel: KernelFn,
    arguments: *const u64,
    tiles: u64,
    number: u64,
);

/// Runs a kernel on a device: the launches that the manifest has for kernel `number`, with the kernel's `count`
/// arguments (device addresses and numbers, 64 bits each, the last the address of the table of twiddles).
pub type Launch =
    unsafe extern "C" fn(runtime: *const Runtime, arguments: *const u64, count: u64, number: u64);

/// Copies `bytes` bytes of a device's memory.
pub type Copy = unsafe extern "C" fn(runtime: *const Runtime, to: u64, from: u64, bytes: u64);

/// The word at an address of a device's memory, which is in an index table.
pub type Read = unsafe extern "C" fn(runtime: *const Runtime, address: u64) -> u32;

/// What the program calls. Programs for the CPU call `parallel_for` alone, programs for a device the others, and their
/// pointers are the device's. A device that fails remembers it and does nothing from then on.
#[repr(C)]
pub struct Runtime {
    /// Runs a kernel on the CPU.
    pub parallel_for: ParallelFor,
    /// Runs a kernel on a device.
    pub launch: Launch,
    /// Copies on a device.
    pub copy: Copy,
    /// Reads from a device.
    pub read: Read,
    /// The runtime's own.
    pub data: *mut c_void,
}

/// The program: tables in the order of the manifest, then inputs and outputs, one pointer a polynomial in the order of
/// ports, ciphertexts and components. Returns 0.
pub type Entry = unsafe extern "C" fn(
    runtime: *const Runtime,
    tables: *const *const u32,
    inputs: *const *const u32,
    outputs: *const *mut u32,
    arena: *mut u8,
) -> i32;
