//! Both hellos under one name.

pub use crate::tls::client_hello::ClientHello;
pub use crate::tls::extensions::is_grease;
pub use crate::tls::names::TLS_1_3;
pub use crate::tls::server_hello::ServerHello;
