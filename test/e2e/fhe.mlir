// A hand-written network, run at each level: on tensors, on slots, on polynomials, on buffers, and as code for this
// machine. Levels below ckks compute on what a client encrypts, each run with new keys.

// RUN: ceria-opt %s --canonicalize --cse --verify-roundtrip -o %t.fhe.mlir
// RUN: ceria interpret %s --random 1 -o %t.npz
// RUN: ceria interpret %t.fhe.mlir --random 1 --expect %t.npz --tolerance 1e-6

// RUN: ceria-opt %s --fhe-to-ckks-pipeline=slots=4096 --ckks-place=min-log-n=13 -o %t.ckks.mlir 2> %t.remarks
// RUN: ceria interpret %t.ckks.mlir --random 1 --expect %t.npz --tolerance 1e-5
// RUN: ceria interpret %t.ckks.mlir --random 1 --noise=3 --expect %t.npz --tolerance 1e-3

// RUN: ceria-opt %t.ckks.mlir --ckks-to-poly --poly-expand-keyswitch --poly-to-kernel -o %t.kernel.mlir
// RUN: ceria interpret %t.kernel.mlir --native --client %t.ckks.mlir --random 1 --expect %t.npz --tolerance 1e-3
// RUN: ceria interpret %t.ckks.mlir --native --random 1 --expect %t.npz --tolerance 1e-3
// RUN: ceria interpret %s --native --random 1 --expect %t.npz --tolerance 2e-2

fhe.weights @w : tensor<8x4xf32> = dense<[[0.5, -0.25, 0.125, 1.0], [0.25, 0.5, -1.0, 0.75],
  [-0.5, 0.25, 0.5, 0.0], [1.0, 0.5, -0.25, 0.125], [0.0, -0.75, 0.5, 0.25], [0.125, 0.25, 0.375, 0.5],
  [-1.0, 0.5, 0.25, -0.125], [0.75, 0.0, -0.5, 0.25]]> : tensor<8x4xf32>

func.func @main(%x: !fhe.tensor<1x8> {fhe.name = "x", fhe.range = array<f64: -1.0, 1.0>}) -> (!fhe.tensor<1x4> {fhe.name = "y"}) {
  %w = fhe.get_weights @w : tensor<8x4xf32>
  %0 = fhe.matmul %x, %w : !fhe.tensor<1x8>, tensor<8x4xf32>
  %1 = fhe.square %0 : !fhe.tensor<1x4>
  %b = arith.constant dense<[0.5, -0.5, 0.25, 1.0]> : tensor<4xf32>
  %2 = fhe.add %1, %b : !fhe.tensor<1x4>, tensor<4xf32>
  return %2 : !fhe.tensor<1x4>
}
