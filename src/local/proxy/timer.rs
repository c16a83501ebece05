//! A timer that is set for every request and seldom rings.

use std::{
    future::{Future, poll_fn},
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use tokio::time::{Instant, Sleep};

use crate::clock;

/// Kept with a connection and set anew for each request: putting off a timer costs one atomic store, making and
/// dropping one costs two turns of the runtime's lock.
#[derive(Default)]
pub(super) struct Timer(Option<Pin<Box<Sleep>>>);

impl Timer {
    /// What comes of `future`; `None` when it takes longer than `limit`.
    pub(super) async fn within<F: Future>(
        &mut self,
        limit: Duration,
        mut future: Pin<&mut F>,
    ) -> Option<F::Output> {
        self.set(limit);
        poll_fn(|cx| match future.as_mut().poll(cx) {
            Poll::Ready(output) => Poll::Ready(Some(output)),
            Poll::Pending => self.poll(cx).map(|()| None),
        })
        .await
    }

    fn set(&mut self, limit: Duration) {
        let end = Instant::from_std(clock::instant()) + limit;
        match &mut self.0 {
            Some(sleep) => sleep.as_mut().reset(end),
            None => self.0 = Some(Box::pin(tokio::time::sleep_until(end))),
        }
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        self.0.as_mut().map_or(Poll::Ready(()), |sleep| sleep.as_mut().poll(cx))
    }
}

#[cfg(test)]
mod tests {
    use std::pin::pin;

    use super::*;

    #[tokio::test]
    async fn each_setting_counts_from_when_it_was_made() {
        let mut timer = Timer::default();
        let soon = pin!(tokio::task::yield_now());
        assert_eq!(timer.within(Duration::from_hours(1), soon).await, Some(()));
        for limit in [Duration::from_millis(2), Duration::from_millis(20), Duration::from_millis(2)] {
            let begun = clock::instant();
            let never = pin!(std::future::pending::<()>());
            assert_eq!(timer.within(limit, never).await, None);
            assert!(begun.elapsed() >= limit, "{:?}", begun.elapsed());
        }
    }
}
