//! tlswhy as a library.

pub mod capture;
