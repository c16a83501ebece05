//! The supervisor as whoever runs the machine sees it: a child process.

use std::{
    process::{Child, Command},
    sync::{Arc, Mutex, PoisonError},
    thread::JoinHandle,
};

use crate::rig::kill;

/// What becomes of a supervisor that has ended without being told to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ended {
    /// It stays so: the test fails on what is missing.
    Stays,
    /// It is started again with the same words, as a service manager would.
    IsStartedAgain,
}

/// A supervisor; it ends with this value, and the kernel ends everything below with it.
pub(crate) struct Supervisor {
    present: Arc<Mutex<Present>>,
    watching: Option<JoinHandle<()>>,
}

struct Present {
    pid: Option<u32>,
    starts: u32,
    over: bool,
}

impl Supervisor {
    pub(crate) fn start(mut command: Command, ended: Ended) -> Self {
        let present = Arc::new(Mutex::new(Present { pid: None, starts: 0, over: false }));
        let watched = present.clone();
        let watching = std::thread::spawn(move || {
            while let Some(mut child) = start(&mut command, &watched) {
                child.wait().unwrap();
                lock(&watched).pid = None;
                if ended == Ended::Stays {
                    return;
                }
            }
        });
        Self { present, watching: Some(watching) }
    }

    /// SIGKILL, if it runs right now.
    pub(crate) fn kill(&self) {
        if let Some(pid) = lock(&self.present).pid {
            kill(pid);
        }
    }

    /// How often it was started.
    pub(crate) fn starts(&self) -> u32 {
        lock(&self.present).starts
    }
}

impl Drop for Supervisor {
    fn drop(&mut self) {
        lock(&self.present).over = true;
        self.kill();
        let _ = self.watching.take().map(JoinHandle::join);
    }
}

fn start(command: &mut Command, present: &Mutex<Present>) -> Option<Child> {
    let mut present = lock(present);
    if present.over {
        return None;
    }
    let child = command.spawn().unwrap();
    present.pid = Some(child.id());
    present.starts += 1;
    Some(child)
}

fn lock(present: &Mutex<Present>) -> std::sync::MutexGuard<'_, Present> {
    present.lock().unwrap_or_else(PoisonError::into_inner)
}
