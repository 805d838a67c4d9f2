//! (poly)
