//! (primes)
