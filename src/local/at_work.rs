//! Parts without which nothing works are kept at work.

use std::{panic::AssertUnwindSafe, time::Duration};

use futures_util::FutureExt;

/// Pause before a part that failed begins again: one that fails at once must not take the machine with it.
const AGAIN: Duration = Duration::from_millis(100);

/// Does the work that `begin` begins, and begins it again where it panics: a part that is dead while everything else looks
/// well is worse than one that failed once. Answers when the work has come to its own end; what must have none says so
/// by its type. Cancelled with the future it returns.
pub(crate) async fn keep<T, F: Future<Output = T>>(part: &'static str, mut begin: impl FnMut() -> F) -> T {
    loop {
        // What the work shares with others is behind guards that a panic gives back.
        match AssertUnwindSafe(begin()).catch_unwind().await {
            Ok(done) => return done,
            // Where and why is a line of the log already.
            Err(_) => tracing::error!(part, "a part of this process failed and begins again"),
        }
        tokio::time::sleep(AGAIN).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn work_that_panics_begins_again_until_it_is_done() {
        let mut begun = 0;
        let done = keep("test", || {
            begun += 1;
            let time = begun;
            async move {
                tokio::task::yield_now().await;
                assert!(time > 2, "as if something were wrong");
                time
            }
        });
        assert_eq!(done.await, 3);
    }
}
