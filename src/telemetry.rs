//! What is written for people: it never stalls and never ends what serves or decides.
//!
//! A line goes into a bounded queue, and a thread of its own writes it. A full disk, a closed pipe, a reader that is gone
//! or a terminal that stands still lose lines; they are counted, and the next line that can be written says how many.

use std::{
    io::{self, Write},
    sync::{
        Arc, OnceLock,
        atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed},
        mpsc,
    },
    time::Duration,
};

/// Bytes that wait to be written at most; what is said beyond them is lost.
const WAITING: usize = 1 << 20;
/// Messages that wait at most.
const QUEUE: usize = 4096;
/// Stack of the thread that writes, bytes.
const STACK: usize = 128 << 10;

/// A way to people. Clones share it.
#[derive(Clone, Debug)]
pub struct Outlet {
    said: mpsc::SyncSender<Said>,
    counts: Arc<Counts>,
}

#[derive(Debug, Default)]
struct Counts {
    waiting: AtomicUsize,
    lost: AtomicU64,
}

enum Said {
    Line(Vec<u8>),
    Flush(mpsc::SyncSender<()>),
}

/// Whether lines that were lost are told where the next one is written.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Losses {
    /// By a line of their own.
    Told,
    /// They are counted only: programs read this.
    Counted,
}

impl Outlet {
    /// Writes to `to` on a thread of its own. Where there can be no thread everything said is lost and counted.
    pub fn new(name: &str, losses: Losses, to: impl Write + Send + 'static) -> Self {
        let (said, queue) = mpsc::sync_channel(QUEUE);
        let counts = Arc::new(Counts::default());
        let shared = Arc::clone(&counts);
        // The queue of a thread that did not start is closed; who says something then learns of it as a loss.
        let _ = std::thread::Builder::new()
            .name(name.to_owned())
            .stack_size(STACK)
            .spawn(move || write(to, &queue, &shared, losses));
        Self { said, counts }
    }

    /// Says something, whole lines with their ends. Never waits.
    pub fn say(&self, lines: Vec<u8>) {
        let size = lines.len();
        let waits = self.counts.waiting.fetch_add(size, Relaxed);
        if waits.saturating_add(size) > WAITING || self.said.try_send(Said::Line(lines)).is_err() {
            self.counts.waiting.fetch_sub(size, Relaxed);
            self.counts.lost.fetch_add(1, Relaxed);
        }
    }

    /// How many messages were lost so far.
    #[must_use]
    pub fn lost(&self) -> u64 {
        self.counts.lost.load(Relaxed)
    }

    /// Waits until everything said so far is written or lost, `within` at most; answers whether it is.
    pub fn flush(&self, within: Duration) -> bool {
        let (done, is_done) = mpsc::sync_channel(1);
        let mut left = within;
        while let Err(error) = self.said.try_send(Said::Flush(done.clone())) {
            if left.is_zero() || matches!(error, mpsc::TrySendError::Disconnected(_)) {
                return false;
            }
            let pause = left.min(Duration::from_millis(5));
            std::thread::sleep(pause);
            left -= pause;
        }
        drop(done);
        is_done.recv_timeout(left).is_ok()
    }
}

/// Each write is one message; it cannot fail.
impl Write for Outlet {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.say(bytes.to_vec());
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn write(mut to: impl Write, queue: &mpsc::Receiver<Said>, counts: &Counts, losses: Losses) {
    let mut told = 0;
    for said in queue {
        match said {
            Said::Line(line) => {
                let lost = counts.lost.load(Relaxed);
                if lost > told && losses == Losses::Told {
                    let note =
                        format!("serinus: {} messages before this one could not be written\n", lost - told);
                    if to.write_all(note.as_bytes()).is_ok() {
                        told = lost;
                    }
                }
                let written = to.write_all(&line).and_then(|()| to.flush());
                counts.waiting.fetch_sub(line.len(), Relaxed);
                if written.is_err() {
                    counts.lost.fetch_add(1, Relaxed);
                }
            }
            // Who asked may have stopped waiting.
            Said::Flush(done) => drop(done.try_send(())),
        }
    }
}

/// Takes every write and lets it fail in silence.
#[derive(Clone, Copy, Debug)]
pub struct Unheard<W>(pub W);

impl<W: Write> Write for Unheard<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        // Nobody is left to be told that nobody reads.
        let _ = self.0.write_all(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        let _ = self.0.flush();
        Ok(())
    }
}

/// The ways this process's log goes.
static LOG: OnceLock<Vec<Outlet>> = OnceLock::new();

/// Makes these the ways of this process's log, for [`say`] and [`flush`]. The first call counts.
pub fn log_to(outlets: Vec<Outlet>) {
    let _ = LOG.set(outlets);
}

/// Says something wherever this process's log goes; answers whether it goes anywhere.
pub fn say(lines: &[u8]) -> bool {
    for it in LOG.get().into_iter().flatten() {
        it.say(lines.to_vec());
    }
    LOG.get().is_some()
}

/// Waits until this process's log is written, `within` at most: it is about to end, or to become another program.
pub fn flush(within: Duration) {
    for it in LOG.get().into_iter().flatten() {
        it.flush(within);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use super::*;

    #[derive(Clone, Default)]
    struct Paper {
        written: Arc<Mutex<Vec<u8>>>,
        full: Arc<std::sync::atomic::AtomicBool>,
    }

    impl Paper {
        fn text(&self) -> String {
            String::from_utf8(self.written.lock().unwrap().clone()).unwrap()
        }
    }

    impl Write for Paper {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            if self.full.load(Relaxed) {
                return Err(io::ErrorKind::StorageFull.into());
            }
            self.written.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    /// Never comes back from a write before the other end is dropped.
    struct Stuck(mpsc::Receiver<()>);

    impl Write for Stuck {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            let _ = self.0.recv();
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    const LONG: Duration = Duration::from_secs(20);

    #[test]
    fn what_cannot_be_written_is_counted_and_told_once_there_is_room_again() {
        let paper = Paper::default();
        let outlet = Outlet::new("test", Losses::Told, paper.clone());
        outlet.say(b"one\n".to_vec());
        assert!(outlet.flush(LONG));
        paper.full.store(true, Relaxed);
        outlet.say(b"two\n".to_vec());
        outlet.say(b"three\n".to_vec());
        assert!(outlet.flush(LONG));
        assert_eq!(outlet.lost(), 2);
        paper.full.store(false, Relaxed);
        outlet.say(b"four\n".to_vec());
        outlet.say(b"five\n".to_vec());
        assert!(outlet.flush(LONG));
        assert_eq!(
            paper.text(),
            "one\nserinus: 2 messages before this one could not be written\nfour\nfive\n"
        );
    }

    #[test]
    fn what_programs_read_is_never_mixed_with_a_line_of_ours() {
        let paper = Paper::default();
        let outlet = Outlet::new("test", Losses::Counted, paper.clone());
        paper.full.store(true, Relaxed);
        outlet.say(b"{}\n".to_vec());
        assert!(outlet.flush(LONG));
        paper.full.store(false, Relaxed);
        outlet.say(b"[]\n".to_vec());
        assert!(outlet.flush(LONG));
        assert_eq!((paper.text().as_str(), outlet.lost()), ("[]\n", 1));
    }

    #[test]
    fn a_reader_that_stands_still_holds_nobody_up_and_what_waits_is_bounded() {
        let (free, held) = mpsc::sync_channel(1);
        let outlet = Outlet::new("test", Losses::Told, Stuck(held));
        for _ in 0..2_000 {
            outlet.say(vec![b'x'; 1 << 10]);
        }
        assert!(outlet.lost() >= 900, "{}", outlet.lost());
        assert!(outlet.counts.waiting.load(Relaxed) <= WAITING);
        for _ in 0..2 * QUEUE {
            outlet.say(Vec::new());
        }
        assert!(outlet.lost() >= 1_000 + QUEUE as u64 / 2, "{}", outlet.lost());
        assert!(!outlet.flush(Duration::from_millis(1)));
        drop(free);
        assert!(outlet.flush(LONG));
    }
}
