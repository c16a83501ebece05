//! What is proven on the real control plane.

mod deployment;
mod routes;

use crate::lab::Lab;

/// One case; each has a namespace of its own.
pub(crate) struct Case {
    pub(crate) name: &'static str,
    pub(crate) run: fn(&Lab, &str),
}

pub(crate) const ALL: &[Case] = &[
    Case { name: "a_canary_by_ratio_is_promoted_without_a_birth_too_many", run: deployment::promoted },
    Case { name: "an_aborted_canary_leaves_the_template_and_tells_pipelines", run: deployment::aborted },
    Case { name: "a_rollout_that_is_deleted_in_the_middle_gives_everything_back", run: deployment::deleted },
    Case {
        name: "every_split_of_a_route_is_accepted_read_back_and_restored",
        run: routes::written_and_restored,
    },
];
