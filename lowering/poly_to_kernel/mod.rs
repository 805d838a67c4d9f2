//! (poly_to_kernel)
