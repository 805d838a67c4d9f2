//! (pipelines)
