//! Many runs in one stream of lines, each judged by itself.

use std::collections::{BTreeMap, BTreeSet};

use analysis::{
    Measured, Missing, Poll, Verdict,
    run::{Ended, Run},
};
use jiff::Timestamp;

use super::{
    config::Config,
    line::{Line, Phase, time_ns},
};

/// All runs of a stream.
pub(super) struct Stream {
    config: Config,
    open: BTreeMap<String, Open>,
    closed: BTreeSet<String>,
    last_verdict: Verdict,
}

/// A run that goes on.
struct Open {
    /// Calibration that came before the first poll.
    before: Vec<(usize, Poll)>,
    before_ns: Vec<Option<i128>>,
    at_work: Option<AtWork>,
}

struct AtWork {
    run: Run,
    ends_ns: i128,
    /// The present poll: its time, and which signals it has brought.
    t: f64,
    t_ns: i128,
    brought: Vec<bool>,
    /// Until when each signal was read.
    read_ns: Vec<i128>,
    /// Whether what it brought has not been said.
    unsaid: bool,
    verdict: Verdict,
    /// The verdict as it was said last.
    said: Verdict,
    /// Nothing that comes now changes the verdict.
    over: bool,
}

/// What there is to say about a run after a poll, or at its end.
pub(super) struct Say<'a> {
    pub(super) run: &'a str,
    /// When the poll was; `None` for a run that ended before its first one.
    pub(super) t: Option<f64>,
    /// The run at work; `None` before its first poll.
    pub(super) at_work: Option<&'a Run>,
    pub(super) verdict: Verdict,
    /// Whether the verdict is another than the one that was said before.
    pub(super) news: bool,
    /// Whether the run is over for good.
    pub(super) end: bool,
}

/// Where a stream says what it has to say.
pub(super) trait Sink {
    /// Says it.
    fn say(&mut self, say: &Say<'_>);
}

impl Stream {
    pub(super) fn new(config: Config) -> Self {
        Self { config, open: BTreeMap::new(), closed: BTreeSet::new(), last_verdict: Verdict::Pending }
    }

    /// Takes one line.
    ///
    /// # Errors
    /// What is wrong with it. A measurement that could not be read counts as missing where it is known whose it is.
    pub(super) fn take(&mut self, line: Line<'_>, sink: &mut dyn Sink) -> Result<(), String> {
        let run = line.run.as_ref().ok_or("`run` is missing: the name that keeps independent runs apart")?;
        let run = run.0.as_ref();
        if self.closed.contains(run) {
            return Err(format!("run `{run}` has ended: nothing comes after `\"end\":true`"));
        }
        if line.end {
            let open = self.open.remove(run).ok_or_else(|| format!("run `{run}` ends before it began"))?;
            self.close(run, open, sink);
            return Ok(());
        }
        let signal =
            line.signal.as_ref().ok_or("`signal` is missing: which of the configuration's signals it is")?;
        let signal = self.config.signal(&signal.0).ok_or_else(|| {
            let known: Vec<&str> = self.config.spec.metrics.iter().map(|it| it.name.as_str()).collect();
            format!("there is no signal `{}` in the configuration, which has {}", signal.0, known.join(", "))
        })?;
        let t_ns = time_ns(line.t)?;
        if !self.open.contains_key(run) {
            self.open.insert(run.to_owned(), Open::new(self.config.spec.metrics.len()));
        }
        let Some(open) = self.open.get_mut(run) else { return Ok(()) };
        match line.phase {
            Some(Phase::Before) => open.calibrate(&self.config, signal, t_ns, line),
            Some(Phase::During) | None => {
                let name = line.run.as_ref().map(|it| it.0.clone().into_owned());
                open.poll(&self.config, name.as_deref().unwrap_or_default(), signal, t_ns, line, sink)
            }
        }
    }

    /// Closes every run that goes on: nothing more comes.
    pub(super) fn finish(&mut self, sink: &mut dyn Sink) {
        for (run, open) in std::mem::take(&mut self.open) {
            self.close(&run, open, sink);
        }
    }

    /// The verdict, if there was exactly one run; `None`: there were more.
    pub(super) fn only_verdict(&self) -> Option<Verdict> {
        (self.closed.len() == 1).then_some(self.last_verdict)
    }

    /// How many runs there were.
    pub(super) fn runs(&self) -> usize {
        self.closed.len()
    }

    fn close(&mut self, run: &str, mut open: Open, sink: &mut dyn Sink) {
        if let Some(it) = &mut open.at_work {
            it.say_poll(run, sink);
            if it.verdict == Verdict::Pending {
                it.verdict = Verdict::Inconclusive;
            }
        }
        let at_work = open.at_work.as_ref();
        let verdict = at_work.map_or(Verdict::Inconclusive, |it| it.verdict);
        let news = at_work.is_none_or(|it| it.said != verdict);
        let say = Say {
            run,
            t: at_work.map(|it| it.t),
            at_work: at_work.map(|it| &it.run),
            verdict,
            news,
            end: true,
        };
        sink.say(&say);
        self.last_verdict = verdict;
        self.closed.insert(run.to_owned());
    }
}

impl Open {
    fn new(signals: usize) -> Self {
        Self { before: vec![], before_ns: vec![None; signals], at_work: None }
    }

    fn calibrate(
        &mut self,
        config: &Config,
        signal: usize,
        t_ns: i128,
        line: Line<'_>,
    ) -> Result<(), String> {
        if self.at_work.is_some() {
            return Err("calibration comes before the first poll of the canary".to_owned());
        }
        let length_ns = match self.before_ns[signal] {
            Some(last) if t_ns <= last => return Err("`t` must rise from poll to poll".to_owned()),
            Some(last) => t_ns - last,
            None => config.poll.as_nanos() as i128,
        };
        let measured = line.calibration(length_ns as f64 / 1e9)?;
        self.before_ns[signal] = Some(t_ns);
        self.before.push((signal, Poll { at: timestamp(t_ns), weight: None, measured }));
        Ok(())
    }

    fn poll(
        &mut self,
        config: &Config,
        run: &str,
        signal: usize,
        t_ns: i128,
        mut line: Line<'_>,
        sink: &mut dyn Sink,
    ) -> Result<(), String> {
        let weight = line.share()?;
        if self.before_ns.iter().flatten().any(|before| t_ns < *before) {
            return Err("a poll of the canary lies before the calibration".to_owned());
        }
        let at_work =
            self.at_work.get_or_insert_with(|| AtWork::begin(config, t_ns, std::mem::take(&mut self.before)));
        at_work.turn_to(run, signal, t_ns, line.t.unwrap_or_default(), sink)?;
        let length_ns = t_ns - at_work.read_ns[signal];
        at_work.read_ns[signal] = t_ns;
        let beside = line.beside(length_ns as f64 / 1e9);
        let (measured, wrong) = match line.measured(config.spec.metrics[signal].judge.needs()) {
            Ok(measured) => (measured, None),
            Err(wrong) => (Measured::Missing(Missing::NotOneNumber), Some(wrong)),
        };
        at_work.observe(signal, &Poll { at: timestamp(t_ns), weight, measured });
        // After the poll: what the pods show counts for later ones.
        if let Ok(Some(measured)) = &beside {
            at_work.observe(signal, &Poll { at: timestamp(t_ns), weight: None, measured: measured.clone() });
        }
        if at_work.brought.iter().all(|it| *it) {
            at_work.say_poll(run, sink);
        }
        wrong.map_or(Ok(()), Err).and(beside.map(drop))
    }
}

impl AtWork {
    /// The window begins on a multiple of the poll's length, so that the first poll lies in it.
    fn begin(config: &Config, t_ns: i128, before: Vec<(usize, Poll)>) -> Self {
        let poll_ns = (config.poll.as_nanos() as i128).max(1);
        let began_ns = (t_ns - 1).div_euclid(poll_ns) * poll_ns;
        let began = timestamp(began_ns);
        let mut run = Run::begin(config.spec.clone(), began, began);
        for (signal, poll) in &before {
            run.record(*signal, poll);
        }
        Self {
            run,
            ends_ns: began_ns.saturating_add(config.deadline.as_nanos() as i128),
            t: 0.0,
            t_ns: began_ns,
            brought: vec![false; config.spec.metrics.len()],
            read_ns: vec![began_ns; config.spec.metrics.len()],
            unsaid: false,
            verdict: Verdict::Pending,
            said: Verdict::Pending,
            over: false,
        }
    }

    /// Makes the poll at `t` the present one.
    fn turn_to(
        &mut self,
        run: &str,
        signal: usize,
        t_ns: i128,
        t: f64,
        sink: &mut dyn Sink,
    ) -> Result<(), String> {
        if t_ns < self.t_ns || (t_ns == self.t_ns && self.brought[signal]) {
            return Err(format!("`t` must rise from poll to poll: {t} comes after {}", self.t));
        }
        if self.t_ns < t_ns {
            self.say_poll(run, sink);
            self.brought.fill(false);
            (self.t, self.t_ns) = (t, t_ns);
        }
        self.brought[signal] = true;
        self.unsaid = true;
        Ok(())
    }

    fn observe(&mut self, signal: usize, poll: &Poll) {
        if self.over {
            return;
        }
        if self.t_ns <= self.ends_ns {
            self.run.record(signal, poll);
            self.verdict = self.judged();
            self.over = self.run.ended().is_some();
        }
        // Of the last poll every signal counts.
        let last =
            self.ends_ns < self.t_ns || (self.t_ns == self.ends_ns && self.brought.iter().all(|it| *it));
        if last && !self.over {
            self.over = true;
            if self.verdict == Verdict::Pending {
                self.verdict = Verdict::Inconclusive;
            }
        }
    }

    /// A pass is taken back if later polls show harm: it is final only at the end.
    fn judged(&self) -> Verdict {
        match self.run.ended() {
            Some(Ended { verdict: Verdict::Fail, .. }) => Verdict::Fail,
            Some(_) => Verdict::Inconclusive,
            None => {
                let signals = 0..self.run.spec().metrics.len();
                let passed = signals.into_iter().all(|it| self.run.judging(it).verdict() == Verdict::Pass);
                if passed { Verdict::Pass } else { Verdict::Pending }
            }
        }
    }

    fn say_poll(&mut self, run: &str, sink: &mut dyn Sink) {
        if std::mem::take(&mut self.unsaid) {
            let news = self.said != self.verdict;
            self.said = self.verdict;
            let (t, at_work) = (Some(self.t), Some(&self.run));
            sink.say(&Say { run, t, at_work, verdict: self.verdict, news, end: false });
        }
    }
}

fn timestamp(ns: i128) -> Timestamp {
    let ends = (Timestamp::MIN.as_nanosecond(), Timestamp::MAX.as_nanosecond());
    Timestamp::from_nanosecond(ns.clamp(ends.0, ends.1)).unwrap_or(Timestamp::MAX)
}
