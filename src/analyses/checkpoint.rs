use std::{collections::BTreeMap, sync::Arc, time::Duration};

use analysis::run::{self, Run, Spec};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use strategies::{ActivityId, Name, Purpose};

use super::{
    Analyses, ArmsNow, Calibration, Definition, Trial,
    definition::Reads,
    incidents::PodBook,
    ledger::Ledger,
    running::{Running, Sampling},
    usage::UsageBook,
};

/// Everything that is remembered of all analyses of one rollout, bounded in size. To be stored after every feed
/// that is not to be lost.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Checkpoint {
    now: Option<Timestamp>,
    fed: Option<Timestamp>,
    arms: ArmsNow,
    bounds: Vec<f64>,
    ledger: Ledger,
    pods: PodBook,
    #[serde(default)]
    usage: UsageBook,
    calibration: Calibration,
    trial: Option<Trial>,
    runs: Vec<RunCheckpoint>,
    #[serde(with = "super::pairs")]
    lost: BTreeMap<ActivityId, String>,
}

#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
struct RunCheckpoint {
    id: ActivityId,
    purpose: Purpose,
    analyses: Vec<Name>,
    reads: Vec<Reads>,
    listed: bool,
    sampling: Sampling,
    spec: Spec,
    run: run::Checkpoint,
}

impl Analyses {
    /// What to store so that [`Analyses::restore`] goes on as if never interrupted.
    #[must_use]
    pub fn checkpoint(&self) -> Checkpoint {
        let runs = self.runs.iter().map(|(id, it)| RunCheckpoint {
            id: id.clone(),
            purpose: it.purpose,
            analyses: it.analyses.clone(),
            reads: it.reads.clone(),
            listed: it.listed,
            sampling: it.sampling.clone(),
            spec: it.run.spec().clone(),
            run: it.run.checkpoint(),
        });
        Checkpoint {
            now: self.now,
            fed: self.fed,
            arms: self.arms.clone(),
            bounds: self.bounds.to_vec(),
            ledger: self.ledger.clone(),
            pods: self.pods.clone(),
            usage: self.usage.clone(),
            calibration: self.calibration.clone(),
            trial: self.trial.clone(),
            runs: runs.collect(),
            lost: self.lost.clone(),
        }
    }

    /// Takes up what was stored. After a document was changed this is also how its new definitions come in.
    ///
    /// An analysis that means something else now does not carry its evidence over: it begins anew when it is asked
    /// for, and says so. Counters that went on counting meanwhile are read over the gap where the split cannot have
    /// changed; how long nobody looked is kept and shown.
    #[must_use]
    pub fn restore(
        definitions: BTreeMap<Name, Definition>,
        planned: Duration,
        checkpoint: Checkpoint,
    ) -> Self {
        let Checkpoint { now, fed, arms, bounds, ledger, pods, usage, calibration, trial, runs, lost } =
            checkpoint;
        let mut analyses = Self::new(definitions, planned);
        for stored in runs {
            let id = stored.id.clone();
            match analyses.resume(stored) {
                Ok(running) => drop(analyses.runs.insert(id, running)),
                Err(why) => drop(analyses.lost.insert(id, why)),
            }
        }
        analyses.lost.extend(lost);
        Self {
            now,
            fed,
            arms,
            bounds: Arc::from(bounds),
            ledger,
            pods,
            usage,
            calibration,
            trial,
            ..analyses
        }
    }

    fn resume(&self, stored: RunCheckpoint) -> Result<Running, String> {
        let RunCheckpoint { id, purpose, analyses, reads, listed, sampling, spec, run } = stored;
        let anew = |why: &str| format!("the evidence of `{}` was started over: {why}", id.name);
        let (meant, meant_reads) = self.spec(&analyses, spec.window).map_err(|why| anew(&why))?;
        if (&meant, &meant_reads) != (&spec, &reads) {
            return Err(anew("the document defines it in another way than before"));
        }
        let run = Run::resume(spec, run).map_err(|why| anew(&why.to_string()))?;
        Ok(Running { purpose, analyses, reads, run, listed, sampling })
    }
}
