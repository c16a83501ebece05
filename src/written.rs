//! What people write in single fields: addresses, amounts of bytes, texts with parameters.
//!
//! Each type refuses what it cannot mean with a sentence that says what is allowed; the reader of documents puts
//! line and column before it.

pub mod address;
pub mod field_path;
pub mod nearest;
pub mod size;
pub mod text;

pub use self::{
    address::{Address, InvalidAddress, ListenAddress},
    field_path::{FieldPath, InvalidFieldPath},
    nearest::{list_of, nearest},
    size::{ByteSize, InvalidByteSize},
    text::{ArgumentText, Fact, InvalidText, MetricText, Parameter, ProcessText, Side},
};
