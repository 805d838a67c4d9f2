//! Devices on which a bundle runs.
