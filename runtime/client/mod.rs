//! The client side: encoding, encryption, keys and their files.
