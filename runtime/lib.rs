//! Everything of Ceria that needs no compiler: parameters and file formats ([`format`]), the client that
//! encodes, encrypts and decrypts ([`client`]), and the devices on which compiled bundles run ([`device`]).

pub mod client;
pub mod device;
pub mod format;
pub mod warnings;
