//! (kernel_to_cpu)
