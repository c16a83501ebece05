//! Proxy worker: serves the last applied split, with or without the control process.
