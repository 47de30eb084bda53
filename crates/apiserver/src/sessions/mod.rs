//! Connections that a request turns into: WebSocket and SPDY. They carry bytes and know no kinds.

pub(crate) mod frame;
pub(crate) mod spdy;
pub(crate) mod upgrade;
