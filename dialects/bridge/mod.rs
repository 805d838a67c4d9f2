//! (bridge)
