//! What a person's commands ask and order, whoever answers: an engine over its socket, or the objects of a cluster.

use strategies::Name;

use super::{
    client::{Client, ClientError, Events},
    view::{
        Applied, CalibrationView, Edit, History, JournalQuery, JournalRecord, NewOrder, OrderAnswer,
        RolloutEvent, RolloutList, RolloutView,
    },
};

/// Whoever knows how rollouts stand, and takes orders. Holds no connection; cheap to clone.
pub trait Remote: Clone + Send + Sync + 'static {
    /// The events of one rollout.
    type Events: Followed;

    /// Every rollout, and how the engine is.
    fn rollouts(&self) -> impl Future<Output = Result<RolloutList, ClientError>> + Send;
    /// One rollout.
    fn rollout(&self, name: &Name) -> impl Future<Output = Result<RolloutView, ClientError>> + Send;
    /// Follows one rollout until it is gone.
    fn events(&self, name: &Name) -> impl Future<Output = Result<Self::Events, ClientError>> + Send;
    /// What was before.
    fn history(&self, name: &Name) -> impl Future<Output = Result<History, ClientError>> + Send;
    /// Records of the journal, oldest first.
    fn journal(
        &self,
        name: &Name,
        query: JournalQuery,
    ) -> impl Future<Output = Result<Vec<JournalRecord>, ClientError>> + Send;
    /// What is remembered of stable's replicas.
    fn calibration(&self, name: &Name) -> impl Future<Output = Result<CalibrationView, ClientError>> + Send;
    /// Gives an order. Answers when it has taken effect, or after a moment in which it has not.
    fn order(
        &self,
        name: &Name,
        order: &NewOrder,
    ) -> impl Future<Output = Result<OrderAnswer, ClientError>> + Send;
    /// Edits what is delivered.
    fn edit(&self, name: &Name, edit: &Edit) -> impl Future<Output = Result<Applied, ClientError>> + Send;
    /// Deletes a rollout. Answers at once; [`Self::events`] ends when it is gone.
    fn delete(&self, name: &Name) -> impl Future<Output = Result<RolloutView, ClientError>> + Send;
}

/// The events of one rollout, in order.
pub trait Followed: Send {
    /// The next event; `None`: nothing more comes, ask again. Cancel safe.
    fn next(&mut self) -> impl Future<Output = Result<Option<RolloutEvent>, ClientError>> + Send;
}

impl Followed for Events {
    async fn next(&mut self) -> Result<Option<RolloutEvent>, ClientError> {
        Self::next(self).await
    }
}

impl Remote for Client {
    type Events = Events;

    async fn rollouts(&self) -> Result<RolloutList, ClientError> {
        Self::rollouts(self).await
    }

    async fn rollout(&self, name: &Name) -> Result<RolloutView, ClientError> {
        Self::rollout(self, name).await
    }

    async fn events(&self, name: &Name) -> Result<Events, ClientError> {
        Self::events(self, name).await
    }

    async fn history(&self, name: &Name) -> Result<History, ClientError> {
        Self::history(self, name).await
    }

    async fn journal(&self, name: &Name, query: JournalQuery) -> Result<Vec<JournalRecord>, ClientError> {
        Self::journal(self, name, query).await
    }

    async fn calibration(&self, name: &Name) -> Result<CalibrationView, ClientError> {
        Self::calibration(self, name).await
    }

    async fn order(&self, name: &Name, order: &NewOrder) -> Result<OrderAnswer, ClientError> {
        Self::order(self, name, order).await
    }

    async fn edit(&self, name: &Name, edit: &Edit) -> Result<Applied, ClientError> {
        Self::edit(self, name, edit).await
    }

    async fn delete(&self, name: &Name) -> Result<RolloutView, ClientError> {
        Self::delete(self, name).await
    }
}
