//! (basis)
