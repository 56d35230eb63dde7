//! Both hellos under one name.

pub use crate::flow::tls::client_hello::ClientHello;
pub use crate::flow::tls::extensions::is_grease;
pub use crate::flow::tls::names::TLS_1_3;
pub use crate::flow::tls::server_hello::ServerHello;
