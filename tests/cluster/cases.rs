//! What is proven on the real control plane.

mod cost;
mod deployment;
mod documents;
mod examples;
mod instances;
mod objects;
mod routes;
mod shown;

use crate::lab::Lab;

/// Who keeps a new template from being rolled out.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Hold {
    /// The policy that is shipped.
    Policy,
    /// The engine, once it has seen it.
    Catch,
}

/// One case; each has a namespace of its own.
pub(crate) struct Case {
    pub(crate) name: &'static str,
    pub(crate) hold: Hold,
    pub(crate) run: fn(&Lab, &str),
}

const fn case(name: &'static str, run: fn(&Lab, &str)) -> Case {
    Case { name, hold: Hold::Policy, run }
}

const fn caught(name: &'static str, run: fn(&Lab, &str)) -> Case {
    Case { name, hold: Hold::Catch, run }
}

pub(crate) const ALL: &[Case] = &[
    case("a_canary_by_ratio_is_promoted_with_each_pod_born_once", deployment::promoted),
    case("an_engine_that_is_killed_after_every_write_promotes_the_same", deployment::killed),
    case("an_aborted_canary_leaves_the_template_and_tells_pipelines", deployment::aborted),
    case("another_instance_goes_on_when_the_one_that_acts_is_killed", instances::killed),
    case("one_that_was_frozen_over_its_lease_does_not_act_any_more", instances::frozen),
    case("one_that_is_told_to_stop_hands_over", instances::told_to_stop),
    case("without_an_engine_a_workload_is_given_back_with_stable", instances::ejected_to_stable),
    case("without_an_engine_a_workload_is_given_back_with_the_canary", instances::ejected_to_canary),
    case("a_template_that_is_missing_holds_the_rollout_and_its_arrival_starts_it", shown::missing),
    case("a_document_with_a_mistake_is_told_and_does_nothing", shown::mistaken),
    case("commands_show_a_rollout_of_a_cluster_as_one_of_a_machine", shown::as_on_a_machine),
    case("the_commands_of_the_example_by_ratio_do_what_its_page_says", examples::by_ratio),
    case("at_rest_nothing_is_asked_and_a_canary_reads_nothing", cost::bounded),
    case("a_rollout_that_is_deleted_in_the_middle_gives_everything_back", deployment::deleted),
    case("a_third_version_takes_the_place_of_the_second", deployment::superseded),
    case("a_restart_is_no_release_and_is_let_through", deployment::restarted),
    case("an_undo_is_a_canary_of_the_replica_set_that_is_there", deployment::undone),
    case("a_version_that_is_scaled_in_the_middle_stays_as_many_as_are_wished", deployment::scaled),
    caught("a_change_that_no_policy_holds_is_caught_and_promoted", deployment::caught),
    caught("a_change_that_no_policy_holds_is_caught_and_aborted", deployment::aborted),
    case("every_split_of_a_route_is_accepted_read_back_and_restored", routes::written_and_restored),
    case("kinds_are_shown_scaled_and_explained_as_kubectl_users_expect", objects::shown),
    case("status_and_spec_of_a_rollout_are_written_apart", objects::written_apart),
    case("the_author_of_an_order_is_who_sent_it_and_an_order_never_changes", objects::authored),
    case("an_order_needs_the_right_to_what_it_asks_for", objects::allowed),
    case("what_lint_refuses_the_api_server_refuses", documents::refused),
    case("what_lint_takes_the_api_server_takes", documents::taken),
    case("a_document_for_one_machine_is_refused_with_words_for_it", documents::of_a_machine),
];
