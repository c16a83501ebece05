//! Becoming the next version: new workers first, then the supervisor itself, then the old workers and the control
//! process.
//!
//! New workers are the proof that the new program works; until they serve, everything old serves on. The exec that
//! follows keeps sockets and children; its next image drains the old workers and replaces the control process. The
//! users' processes do not notice.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use super::kept::ChildId;
use super::{Ending, House, News};
use crate::clock;
use crate::failpoint;
use crate::local::process::expand;
use crate::local::supervisor::handover;
use crate::local::supervisor::protocol::{Answer, Refusal, Reply};
use crate::local::supervisor::server::ConnectionId;
use crate::telemetry;

/// How long the log of this image is waited for before the next one takes over.
const LAST_LINES: Duration = Duration::from_millis(200);

/// An upgrade under way.
#[derive(Debug)]
pub(super) struct Upgrade {
    executable: PathBuf,
    /// Workers of the new program.
    fresh: BTreeSet<u64>,
    deadline: Instant,
    asked_by: Option<(ConnectionId, u64)>,
}

impl Upgrade {
    pub(super) fn deadline(&self) -> Instant {
        self.deadline
    }

    /// The new program, for a worker that belongs to it.
    pub(super) fn program_of(&self, worker: u64) -> Option<PathBuf> {
        self.fresh.contains(&worker).then(|| self.executable.clone())
    }
}

impl House {
    pub(super) fn begin_upgrade(
        &mut self,
        executable: Option<PathBuf>,
        asked_by: Option<(ConnectionId, u64)>,
    ) {
        let executable = executable.unwrap_or_else(|| self.settings.executable.clone());
        let refusal = if self.ending != Ending::No {
            Some(Refusal::ShuttingDown)
        } else if self.upgrade.is_some() {
            Some(Refusal::UpgradeFailed("another upgrade is under way".to_owned()))
        } else if !executable.is_file() {
            Some(Refusal::UpgradeFailed(format!("{} is no file", executable.display())))
        } else {
            None
        };
        if let Some(refusal) = refusal {
            if let Some((connection, id)) = asked_by {
                self.answer(connection, Reply { id, result: Err(refusal) });
            }
            return;
        }
        let now = clock::instant();
        self.upgrade_error = None;
        tracing::info!(executable = %executable.display(), "upgrading");
        // One worker at least, even where none is wanted: it proves that the program works.
        let fresh =
            (0..self.settings.workers.max(1)).map(|_| self.add_worker(self.generation + 1, now)).collect();
        let deadline = now + super::ms(self.settings.ready_ms);
        self.upgrade = Some(Upgrade { executable, fresh, deadline, asked_by });
    }

    pub(super) async fn settle_upgrade(&mut self, now: Instant) {
        let Some(upgrade) = &self.upgrade else { return };
        let worker = |number: &u64| self.workers.get(number);
        if upgrade.fresh.iter().all(|n| worker(n).is_some_and(|w| w.ready)) {
            return self.become_next().await;
        }
        let failed = upgrade.fresh.iter().filter_map(|n| worker(n)?.kept.last_exit.clone()).next();
        let reason = match failed {
            Some(last) => match last.reason {
                Some(reason) => format!("a worker of the new program failed: {reason}"),
                None => format!("a worker of the new program failed: {}", last.exit),
            },
            None if upgrade.deadline <= now => {
                format!("workers of the new program do not serve after {} ms", self.settings.ready_ms)
            }
            None => return,
        };
        if let Some(upgrade) = self.upgrade.take() {
            self.give_up(upgrade, &reason, now);
        }
    }

    /// Sends the new workers away; the old ones have never stopped.
    pub(super) fn give_up(&mut self, upgrade: Upgrade, reason: &str, now: Instant) {
        tracing::warn!(reason, "the upgrade was given up");
        self.upgrade_error = Some(reason.to_owned());
        for number in upgrade.fresh {
            self.drain(number, now);
        }
        if let Some((connection, id)) = upgrade.asked_by {
            let result = Err(Refusal::UpgradeFailed(reason.to_owned()));
            self.answer(connection, Reply { id, result });
        }
    }

    async fn become_next(&mut self) {
        let Some(upgrade) = self.upgrade.take() else { return };
        if let Some((connection, id)) = upgrade.asked_by {
            self.answer_now(connection, Reply { id, result: Ok(Answer::Done) }).await;
        }
        // What has been learnt must not be forgotten; commands not answered yet are said again by those who gave them.
        while let Ok(news) = self.news.try_recv() {
            self.hear(news);
        }
        failpoint::reached("supervisor: before it becomes the next version");
        let error = {
            let (passed, files) = match self.pass(&upgrade.executable) {
                Ok(passed) => passed,
                Err(error) => return self.not_replaced(upgrade, &error.to_string()),
            };
            let borrowed: Vec<_> = files.iter().map(std::os::fd::AsFd::as_fd).collect();
            let state = [("state", self.settings.state.to_string_lossy().into_owned())].into();
            let arguments: Vec<String> = self.settings.resume.iter().map(|it| expand(it, &state)).collect();
            // The thread that writes the log ends with this image.
            telemetry::flush(LAST_LINES);
            handover::exec(&upgrade.executable, &arguments, &passed, &borrowed)
        };
        let reason = format!("cannot run {}: {error}", upgrade.executable.display());
        self.not_replaced(upgrade, &reason);
    }

    /// The asker has had its answer; the reason is in what everybody can observe.
    fn not_replaced(&mut self, upgrade: Upgrade, reason: &str) {
        self.give_up(Upgrade { asked_by: None, ..upgrade }, reason, clock::instant());
    }

    /// First act of the next version.
    pub(super) fn finish_upgrade(&mut self) {
        let now = clock::instant();
        let old: Vec<u64> =
            self.workers.iter().filter(|(_, w)| w.generation < self.generation).map(|(n, _)| *n).collect();
        for number in old {
            self.drain(number, now);
        }
        if let Some(control) = self.control.as_mut() {
            let act = control.life.stop(super::ms(5_000), now);
            self.perform(&ChildId::Control, act, None);
        }
    }

    /// Starts the control process of the new version when the old one has ended.
    pub(super) fn settle_control(&mut self) {
        if self.ending == Ending::No
            && let Some(control) = self.control.as_mut().filter(|control| control.ended())
        {
            control.life.again(super::own_restart(), clock::instant());
        }
    }

    /// A child of the earlier image whose end came before anybody watched.
    pub(super) fn lost(&mut self, child: ChildId, pid: u32) {
        self.hear(News::Exited { child, pid, exit: crate::local::process::child::Exit::Unknown });
    }
}
