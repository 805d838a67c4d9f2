//! Streams, events, launches and graphs.

use crate::{
    codes::*,
    fault::Fault,
    memory::Memory,
    queue::Work,
    state::{Capture, Event, Stream, state},
};
use std::collections::BTreeMap;
use std::ffi::{c_int, c_uint, c_void};

/// Threads of a block and blocks in each direction are at most these.
const MOST_THREADS: c_uint = 1024;
const MOST_BLOCKS: [c_uint; 3] = [i32::MAX as c_uint, 65535, 65535];
/// Bytes of shared memory of a block are at most these.
const MOST_SHARED: c_uint = 227 << 10;

#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuStreamCreate(stream: *mut u64, _flags: c_uint) -> Code {
    let mut state = state();
    let handle = state.handle();
    state.streams.insert(handle, Stream::default());
    // SAFETY: the driver's contract.
    unsafe { store(stream, handle) }
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuStreamDestroy_v2(stream: u64) -> Code {
    let mut state = state();
    state.drain(stream, None);
    if state.streams.remove(&stream).is_some() { SUCCESS } else { INVALID_HANDLE }
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuStreamSynchronize(stream: u64) -> Code {
    let mut state = state();
    match state.streams.contains_key(&stream) {
        false => INVALID_HANDLE,
        true if state.is_captured(stream) => STREAM_CAPTURE_UNSUPPORTED,
        true => state.drain(stream, None),
    }
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuStreamWaitEvent(stream: u64, event: u64, _flags: c_uint) -> Code {
    let mut state = state();
    let Some(count) = state.events.get(&event).map(|event| event.recorded) else { return INVALID_HANDLE };
    state.enqueue(stream, Work::Wait { event, count })
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuEventCreate(event: *mut u64, _flags: c_uint) -> Code {
    let mut state = state();
    let handle = state.handle();
    state.events.insert(handle, Event::default());
    // SAFETY: the driver's contract.
    unsafe { store(event, handle) }
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuEventDestroy_v2(event: u64) -> Code {
    if state().events.remove(&event).is_some() { SUCCESS } else { INVALID_HANDLE }
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuEventRecord(event: u64, stream: u64) -> Code {
    let mut state = state();
    let Some(known) = state.events.get_mut(&event) else { return INVALID_HANDLE };
    known.recorded += 1;
    known.happened = None;
    let count = known.recorded;
    state.enqueue(stream, Work::Record { event, count })
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuEventSynchronize(event: u64) -> Code {
    let mut state = state();
    let Some(count) = state.events.get(&event).map(|event| event.recorded) else { return INVALID_HANDLE };
    state.wait_for(event, count)
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuEventElapsedTime(milliseconds: *mut f32, from: u64, to: u64) -> Code {
    let state = state();
    let time = |event: u64| state.events.get(&event).and_then(|event| event.happened);
    let (Some(from), Some(to)) = (time(from), time(to)) else { return INVALID_HANDLE };
    // SAFETY: the driver's contract.
    unsafe { *milliseconds = to.saturating_duration_since(from).as_secs_f32() * 1e3 };
    SUCCESS
}

/// Asks for a copy; `fits` tells whether its ends are in order.
fn copy(to: u64, from: u64, bytes: usize, stream: u64, fits: impl FnOnce(&Memory) -> bool) -> Code {
    let mut state = state();
    if state.broken != SUCCESS {
        return state.broken;
    }
    if !fits(&state.memory) {
        return INVALID_VALUE;
    }
    state.enqueue(stream, Work::Copy { to, from, bytes })
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuMemcpyHtoDAsync_v2(to: u64, from: u64, bytes: usize, stream: u64) -> Code {
    copy(to, from, bytes, stream, |m| m.on_device(to, bytes) && m.is_pinned(from, bytes))
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuMemcpyDtoHAsync_v2(to: u64, from: u64, bytes: usize, stream: u64) -> Code {
    copy(to, from, bytes, stream, |m| m.is_pinned(to, bytes) && m.on_device(from, bytes))
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuMemcpyDtoDAsync_v2(to: u64, from: u64, bytes: usize, stream: u64) -> Code {
    copy(to, from, bytes, stream, |m| m.on_device(to, bytes) && m.on_device(from, bytes))
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuLaunchKernel(
    function: u64,
    x: c_uint,
    y: c_uint,
    z: c_uint,
    threads_x: c_uint,
    threads_y: c_uint,
    threads_z: c_uint,
    shared_bytes: c_uint,
    stream: u64,
    parameters: *const *const c_void,
    _extra: *const *const c_void,
) -> Code {
    let mut state = state();
    if state.broken != SUCCESS {
        return state.broken;
    }
    let Some(function) = state.functions.get(&function).cloned() else { return INVALID_HANDLE };
    state.asked += 1;
    if matches!(state.fault, Some(Fault::Refuse(from)) if state.asked >= from) {
        return LAUNCH_OUT_OF_RESOURCES;
    }
    let grid = [x, y, z];
    let blocks_fit = grid.iter().zip(MOST_BLOCKS).all(|(&blocks, most)| (1..=most).contains(&blocks));
    let block_fits = (1..=MOST_THREADS).contains(&threads_x) && (threads_y, threads_z) == (1, 1);
    let as_declared = function.threads.is_none_or(|threads| threads == threads_x);
    if !blocks_fit || !block_fits || !as_declared || shared_bytes > MOST_SHARED {
        return INVALID_VALUE;
    }
    // SAFETY: the caller passes the address of each parameter of the function.
    let values: Vec<u64> =
        (0..function.parameters).map(|i| unsafe { *(*parameters.add(i)).cast::<u64>() }).collect();
    if !values.iter().all(|&value| state.is_parameter(value)) {
        return INVALID_VALUE;
    }
    let work = Work::Launch { function, grid, threads: threads_x, parameters: values };
    state.enqueue(stream, work)
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuStreamBeginCapture_v2(stream: u64, _mode: c_int) -> Code {
    let mut state = state();
    if state.fault == Some(Fault::Capture) {
        return STREAM_CAPTURE_UNSUPPORTED;
    }
    if !state.streams.contains_key(&stream) || state.capture.is_some() {
        return INVALID_HANDLE;
    }
    state.capture =
        Some(Capture { origin: stream, others: BTreeMap::new(), events: BTreeMap::new(), work: Vec::new() });
    SUCCESS
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuStreamEndCapture(stream: u64, graph: *mut u64) -> Code {
    let mut state = state();
    let capture = state.capture.take().filter(|capture| capture.origin == stream);
    let Some(capture) = capture else { return STREAM_CAPTURE_INVALIDATED };
    if capture.others.values().any(|joined| !joined) {
        return STREAM_CAPTURE_UNJOINED;
    }
    let handle = state.handle();
    state.graphs.insert(handle, capture.work);
    // SAFETY: the driver's contract.
    unsafe { store(graph, handle) }
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuGraphInstantiateWithFlags(exec: *mut u64, graph: u64, _flags: u64) -> Code {
    let mut state = state();
    let Some(work) = state.graphs.get(&graph).cloned() else { return INVALID_HANDLE };
    let handle = state.handle();
    state.graphs.insert(handle, work);
    // SAFETY: the driver's contract.
    unsafe { store(exec, handle) }
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuGraphLaunch(exec: u64, stream: u64) -> Code {
    let mut state = state();
    if state.broken != SUCCESS {
        return state.broken;
    }
    let Some(all) = state.graphs.get(&exec).cloned() else { return INVALID_HANDLE };
    for work in all {
        let code = state.enqueue(stream, work);
        if code != SUCCESS {
            return code;
        }
    }
    SUCCESS
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuGraphDestroy(graph: u64) -> Code {
    if state().graphs.remove(&graph).is_some() { SUCCESS } else { INVALID_HANDLE }
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuGraphExecDestroy(exec: u64) -> Code {
    if state().graphs.remove(&exec).is_some() { SUCCESS } else { INVALID_HANDLE }
}
