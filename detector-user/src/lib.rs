//! tlswhy as a library.

pub mod capture;
pub mod community_id;
