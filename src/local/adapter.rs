//! What the engine writes, as this machine does it: processes by the supervisor, splits by the proxy workers.

pub mod fleet;
pub mod launch;
pub mod lower;
pub mod object;
pub mod release;
pub mod site;
