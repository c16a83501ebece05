//! Revision.
