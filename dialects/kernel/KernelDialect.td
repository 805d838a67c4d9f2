//===- KernelDialect.td - fused kernels over limbs -------------------------===//
//
// The dialect itself: its name, its namespace and its front page.
//
//===----------------------------------------------------------------------===//

#ifndef CERIA_KERNEL_DIALECT
#define CERIA_KERNEL_DIALECT

include "mlir/IR/DialectBase.td"

def Kernel_Dialect : Dialect {
  let name = "kernel";
  let cppNamespace = "::ceria::kernel";
  let summary = "Fused device kernels over limb tiles, buffers and launches";
  let description = [{
    A `kernel.func` says what happens to one *tile*: the N words of one limb, modulo one prime. It is
    run once for every prime of its `moduli`, times its `batch`, in any order and in parallel; it says
    nothing about threads or vectors. Inside it, a `!kernel.tile` is an SSA value of N canonical residues
    modulo the tile's prime.

    The host program is ordinary `func.func`, `scf` and `arith` with `kernel.alloc`, `kernel.free`,
    `kernel.copy`, `kernel.subview` and `kernel.launch` on buffers of 32-bit words, in destination-passing
    style: a function's results are buffers that its caller hands in, marked `kernel.output`.

    N and the primes are those of the module's `ckks.params`. Factors called *Montgomery* hold
    `x * 2^32 mod q`; plaintexts and keys are kept that way in memory, ciphertexts are not.

    ```mlir
    kernel.func @add moduli<q[0:2]> (%a: !kernel.buf<2x8192>, %b: !kernel.buf<2x8192>, %c: !kernel.buf<2x8192>) {
      %x = kernel.load %a : !kernel.buf<2x8192>
      %y = kernel.load %b : !kernel.buf<2x8192>
      %z = kernel.addm %x, %y
      kernel.store %z, %c : !kernel.buf<2x8192>
    }
    func.func @main(%a: !kernel.buf<2x8192>, %b: !kernel.buf<2x8192>, %c: !kernel.buf<2x8192> {kernel.output}) {
      kernel.launch @add(%a, %b, %c) : !kernel.buf<2x8192>, !kernel.buf<2x8192>, !kernel.buf<2x8192>
      return
    }
    ```
  }];
  let useDefaultTypePrinterParser = 1;
  let useDefaultAttributePrinterParser = 1;
}

#endif // CERIA_KERNEL_DIALECT
