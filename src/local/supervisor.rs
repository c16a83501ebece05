//! Parent of workers and user processes, owner of the listening sockets.
