//! The world of one Rollout in a cluster.

use jiff::Timestamp;
use strategies::{Name, Status, World, Write};

use super::{Api, Driven};
use crate::{
    clock,
    object::{Kind, Misshapen, ObjectRef, Objects, Towards, Trouble},
    port::{Outside, Unavailable, WriteError},
    spec::compile::Facts,
};

/// What one Rollout sees and writes of a cluster.
///
/// # Crash safety
/// It holds nothing that a restart may not lose: a write is computed from the objects of the last look and carries
/// their versions; what the data plane has acknowledged is waited for again.
pub struct Site {
    api: Api,
    rollout: ObjectRef,
    uid: Name,
    driven: Driven,
    /// The last look: a write is computed from what the decision saw.
    seen: Option<(Objects, Status, Timestamp)>,
}

impl Site {
    /// The world of the Rollout of this name and uid.
    #[must_use]
    pub fn new(api: Api, rollout: &Name, uid: Name, driven: Driven) -> Self {
        let rollout = Kind::new("serinus.dev/v1alpha1", "Rollout").named(rollout.as_str());
        Self { api, rollout, uid, driven, seen: None }
    }

    /// What a person should see.
    #[must_use]
    pub fn troubles(&self) -> &[Trouble] {
        self.driven.troubles()
    }

    /// What the last look says that a plan depends on: see [`Compiled::with_facts`](crate::spec::Compiled::with_facts).
    /// `None`: nothing was looked at yet.
    ///
    /// # Errors
    /// An object that is not shaped as its kind says.
    pub fn facts(&self) -> Result<Option<Facts>, Misshapen> {
        let Some((objects, status, now)) = &self.seen else { return Ok(None) };
        self.driven.facts(objects, status, *now).map(Some)
    }
}

impl Outside for Site {
    async fn observe(&mut self, status: &Status) -> Result<World, Unavailable> {
        let own = self.api.get(&self.rollout).await?;
        let leaving = own.as_ref().is_none_or(|it| it.pointer("/metadata/deletionTimestamp").is_some());
        let objects = self.api.read(&self.driven.needs(true), &self.uid).await?;
        let now = clock::now();
        let world = self.driven.world(&objects, status, leaving, now);
        let world = world
            .map_err(|it| Unavailable { what: "cannot read the workload".to_owned(), why: it.to_string() })?;
        self.seen = Some((objects, status.clone(), now));
        Ok(world)
    }

    async fn write(&mut self, write: &Write) -> Result<(), WriteError> {
        let Some((objects, status, now)) = &self.seen else { return Err(WriteError::Conflict) };
        let next = self.driven.towards(write, objects, status, *now);
        match next.map_err(|it| WriteError::Refused { why: it.to_string() })? {
            Towards::Write(it) => self.api.write(&it).await,
            Towards::Refused(why) => Err(WriteError::Refused { why }),
            // It is so already, or somebody else acts first: what was decided was decided on an older look.
            Towards::Reached | Towards::Theirs(_) => Err(WriteError::Conflict),
        }
    }
}
