//! What must survive a crash, in SQLite.
