//! Device functions written by hand: right ones compute what they should, wrong ones are caught.

use super::super::{Emulated, EmulatorError, Fault, FaultKind, Mode, Place, fault::Space};
use ceria_dialects::context;
use ceria_runtime::{
    device::{Device, DeviceError},
    format::manifest::Launch,
};
use melior::ir::Module;

/// Blocks, and threads of a block, of every launch here.
const BLOCKS: u32 = 2;
const THREADS: u32 = 64;
const WORDS: usize = (BLOCKS * THREADS) as usize;

/// A device with one function `@f(%a, %b)` whose body begins with `%t` (thread), `%i` (thread of the grid), and the
/// addresses `%pa`, `%pb` of words `%i` of the buffers, `%ps` of word `%t` of shared memory.
fn device(body: &str, mode: Mode) -> Result<Emulated, EmulatorError> {
    let text = format!(
        "module {{ gpu.module @kernels {{
           llvm.mlir.global internal @s() {{addr_space = 3 : i32}} : !llvm.array<{THREADS} x i32>
           gpu.func @f(%a: !llvm.ptr<1>, %b: !llvm.ptr<1>) kernel
               attributes {{known_block_size = array<i32: {THREADS}, 1, 1>}} {{
             %one = arith.constant 1 : i32
             %two = arith.constant 2 : i32
             %warp = arith.constant 32 : i32
             %one_long = arith.constant 1 : i64
             %size = arith.constant {THREADS} : index
             %thread = gpu.thread_id x
             %block = gpu.block_id x
             %from = arith.muli %block, %size : index
             %all = arith.addi %from, %thread : index
             %t = arith.index_cast %thread : index to i64
             %t32 = arith.trunci %t : i64 to i32
             %i = arith.index_cast %all : index to i64
             %s = llvm.mlir.addressof @s : !llvm.ptr<3>
             %pa = llvm.getelementptr %a[%i] : (!llvm.ptr<1>, i64) -> !llvm.ptr<1>, i32
             %pb = llvm.getelementptr %b[%i] : (!llvm.ptr<1>, i64) -> !llvm.ptr<1>, i32
             %ps = llvm.getelementptr %s[%t] : (!llvm.ptr<3>, i64) -> !llvm.ptr<3>, i32
             {body}
             gpu.return
           }}
         }} }}"
    );
    let context = context();
    let module = Module::parse(&context, &text).unwrap_or_else(|| panic!("does not parse:\n{text}"));
    // SAFETY: the module lives as long as the reference.
    let root = unsafe { melior::ir::OperationRef::from_raw(module.as_operation().to_raw()) };
    Emulated::new(root, mode)
}

/// Runs a body on the words 0, 1, 2 ...; the words of `%b`.
fn run_in(body: &str, mode: Mode) -> Result<Vec<u32>, DeviceError> {
    let mut device = device(body, mode)?;
    let input: Vec<u32> = (0..WORDS as u32).collect();
    let a = device.allocate(4 * WORDS as u64)?;
    let b = device.allocate(4 * WORDS as u64)?;
    device.upload(a, &input)?;
    device.upload(b, &vec![0; WORDS])?;
    let launch = Launch { symbol: "f".into(), grid: [BLOCKS, 1, 1], block: THREADS, ..Launch::default() };
    device.launch(&launch, &[a, b])?;
    let mut output = vec![0; WORDS];
    device.download(b, &mut output)?;
    Ok(output)
}

fn run(body: &str) -> Vec<u32> {
    let checked = run_in(body, Mode::Checked).unwrap_or_else(|e| panic!("{e}"));
    let fast = run_in(body, Mode::Fast).unwrap_or_else(|e| panic!("{e}"));
    assert_eq!(checked, fast);
    checked
}

fn fault(body: &str) -> Fault {
    match run_in(body, Mode::Checked).map_err(EmulatorError::of) {
        Err(Ok(EmulatorError::Fault(fault))) => *fault,
        other => panic!("{other:?} instead of a fault"),
    }
}

/// The place of an op whose line of the body is marked by this location.
fn place(op: &str, name: &str) -> Place {
    Place { op: op.into(), location: name.into() }
}

/// Each thread reads the word that its neighbour wrote to shared memory.
fn neighbour(between: &str) -> String {
    format!(
        "%v = llvm.load %pa : !llvm.ptr<1> -> i32
         llvm.store %v, %ps : i32, !llvm.ptr<3> loc(\"put\")
         {between}
         %n = arith.xori %t, %one_long : i64
         %pn = llvm.getelementptr %s[%n] : (!llvm.ptr<3>, i64) -> !llvm.ptr<3>, i32
         %w = llvm.load %pn : !llvm.ptr<3> -> i32 loc(\"get\")
         llvm.store %w, %pb : i32, !llvm.ptr<1>"
    )
}

#[test]
fn threads_exchange_words_through_shared_memory() {
    let expected: Vec<u32> = (0..WORDS as u32).map(|i| i ^ 1).collect();
    assert_eq!(run(&neighbour("gpu.barrier")), expected);
}

#[test]
fn a_missing_barrier_is_a_race() {
    // The first thread reads what the second has yet to write.
    let early = fault(&neighbour(""));
    assert_eq!(early.kind, FaultKind::Uninitialised { at: 4 });
    assert_eq!(early.by.place, Some(place("llvm.load", "get")));
    // If the words are there from before, it reads too early.
    let zero = "%zero = arith.constant 0 : i32
         llvm.store %zero, %ps : i32, !llvm.ptr<3>
         gpu.barrier\n";
    let race = fault(&format!("{zero}{}", neighbour("")));
    assert_eq!(race.kind, FaultKind::Race { space: Space::Shared });
    assert_eq!(race.by.place, Some(place("llvm.store", "put")));
    let other = race.other.as_ref().unwrap();
    assert_eq!((other.thread, other.place.clone()), (0, Some(place("llvm.load", "get"))));
    assert_eq!(
        race.to_string(),
        "@f: race on a word of shared memory; thread 1 of block (0, 0, 0): llvm.store at put; \
         thread 0 of block (0, 0, 0): llvm.load at get"
    );
}

#[test]
fn blocks_do_not_wait_for_each_other() {
    let body = "llvm.store %t32, %pb : i32, !llvm.ptr<1>
         %first = llvm.load %b : !llvm.ptr<1> -> i32 loc(\"get\")";
    let race = fault(body);
    assert_eq!(race.kind, FaultKind::Race { space: Space::Global });
    assert_eq!(race.by.place, Some(place("llvm.load", "get")));
}

#[test]
fn an_index_off_by_one_is_out_of_bounds() {
    let body = "%pn = llvm.getelementptr %pa[1] : (!llvm.ptr<1>) -> !llvm.ptr<1>, i32
         %v = llvm.load %pn : !llvm.ptr<1> -> i32 loc(\"get\")";
    let global = fault(body);
    assert!(matches!(global.kind, FaultKind::OutOfBounds { space: Space::Global, bytes: 4, .. }), "{global}");
    assert_eq!((global.by.block, global.by.thread), ([BLOCKS - 1, 0, 0], THREADS - 1));
    assert_eq!(global.by.place, Some(place("llvm.load", "get")));
    let before = "%pn = llvm.getelementptr %ps[-1] : (!llvm.ptr<3>) -> !llvm.ptr<3>, i32
         llvm.store %one, %pn : i32, !llvm.ptr<3>";
    let shared = fault(before);
    assert!(matches!(shared.kind, FaultKind::OutOfBounds { space: Space::Shared, .. }), "{shared}");
    let past = "%pn = llvm.getelementptr %ps[1] : (!llvm.ptr<3>) -> !llvm.ptr<3>, i32
         llvm.store %one, %pn : i32, !llvm.ptr<3>";
    assert_eq!(fault(past).by.thread, THREADS - 1);
}

#[test]
fn a_vector_at_an_odd_address_is_misaligned() {
    let body = "%v = llvm.load %pa {alignment = 16 : i64} : !llvm.ptr<1> -> vector<4xi32> loc(\"get\")";
    let fault = fault(body);
    assert!(matches!(fault.kind, FaultKind::Misaligned { alignment: 16, .. }), "{fault}");
    assert_eq!((fault.by.thread, fault.by.place), (1, Some(place("llvm.load", "get"))));
}

#[test]
fn a_barrier_that_some_threads_miss_is_divergent() {
    let half = "%half = arith.constant 32 : index
         %low = arith.cmpi ult, %thread, %half : index
         scf.if %low { gpu.barrier loc(\"here\") }";
    let missed = fault(half);
    assert_eq!(missed.kind, FaultKind::DivergentBarrier);
    assert_eq!(missed.by.place, Some(place("gpu.barrier", "here")));
    assert_eq!(missed.other.unwrap().place, None);
    let two = half.replace("loc(\"here\") }", "loc(\"here\") } else { gpu.barrier loc(\"there\") }");
    let two = fault(&two);
    assert_eq!(two.by.place, Some(place("gpu.barrier", "here")));
    assert_eq!(two.other.unwrap().place, Some(place("gpu.barrier", "there")));
}

#[test]
fn lanes_exchange_words_by_shuffles() {
    let body = "%v = llvm.load %pa : !llvm.ptr<1> -> i32
         %x, %ok = gpu.shuffle xor %v, %two, %warp : i32
         %y, %okay = gpu.shuffle idx %x, %one, %warp : i32
         %sum = arith.addi %x, %y : i32
         llvm.store %sum, %pb : i32, !llvm.ptr<1>";
    let expected: Vec<u32> = (0..WORDS as u32).map(|i| (i ^ 2) + (((i & !31) + 1) ^ 2)).collect();
    assert_eq!(run(body), expected);
}

#[test]
fn a_shuffle_needs_all_lanes() {
    let half = "%half = arith.constant 16 : index
         %low = arith.cmpi ult, %thread, %half : index
         scf.if %low { %x, %ok = gpu.shuffle xor %one, %one, %warp : i32 loc(\"here\") }";
    let missed = fault(half);
    assert_eq!(missed.kind, FaultKind::DivergentShuffle);
    assert_eq!(missed.by.place, Some(place("gpu.shuffle", "here")));
    let beyond = fault("%x, %ok = gpu.shuffle xor %one, %warp, %warp : i32");
    assert_eq!(beyond.kind, FaultKind::NoLane { lane: 32, width: 32 });
}

#[test]
fn what_has_no_twin_is_named() {
    let other = "%g = gpu.grid_dim x";
    match device(other, Mode::Fast).map(|_| ()) {
        Err(EmulatorError::Lower(error)) => {
            assert!(error.to_string().contains("'gpu.grid_dim' op has no twin"), "{error}")
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn launches_must_fit_their_functions() {
    let mut device = device("", Mode::Fast).unwrap();
    let launch = Launch { symbol: "f".into(), grid: [BLOCKS, 1, 1], block: THREADS, ..Launch::default() };
    let a = device.allocate(16).unwrap();
    device.launch(&launch, &[a, a]).unwrap();
    assert!(device.launch(&launch, &[a]).is_err());
    assert!(device.launch(&Launch { symbol: "g".into(), ..launch.clone() }, &[a, a]).is_err());
    assert!(device.launch(&Launch { block: 32, ..launch }, &[a, a]).is_err());
    assert!(device.upload(a, &[0; 5]).is_err());
    assert!(device.copy(a, a + 4, 16).is_err());
}
