//! (pipelines)

use ceria_dialects::bridge::pass::PipelineDescriptor;

/// The named pipelines, in the order of the documentation.
pub const PIPELINES: &[&PipelineDescriptor] = &[];
