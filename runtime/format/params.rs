//! (params)
