//! What a machine promises.

mod asked;
mod clock;
mod crash;
mod dead_stable;
mod disk;
mod failpoint;
mod fresh;
mod guards;
mod heard;
mod listen;
mod orders;
mod release;
mod several;

use libtest_mimic::{Failed, Trial};

/// Every case. Each has a machine of its own.
pub(crate) fn all() -> Vec<Trial> {
    [
        guards::all(),
        asked::all(),
        clock::all(),
        crash::all(),
        dead_stable::all(),
        disk::all(),
        failpoint::all(),
        fresh::all(),
        heard::all(),
        listen::all(),
        orders::all(),
        release::all(),
        several::all(),
    ]
    .into_iter()
    .flatten()
    .collect()
}

fn case<F: Future<Output = ()> + 'static>(name: &str, test: fn() -> F) -> Trial {
    Trial::test(name, move || {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
        runtime.block_on(test());
        Ok::<(), Failed>(())
    })
}
