//! The properties hold in every state, and every defect is found.

use super::{
    config::{Config, all},
    mutants::{ALL, Mutant},
    search::{Model, Report},
};

fn search(config: &Config, mutant: Mutant) -> (Report, String) {
    let model = Model { config, plan: config.plan(), mutant };
    let report = model.search();
    let said = report.failure.as_ref().map(|it| model.narrate(it)).unwrap_or_default();
    (report, said)
}

#[test]
fn no_pod_is_born_unasked_none_is_missed_and_every_way_ends_well() {
    for config in all() {
        let (report, said) = search(&config, Mutant::None);
        println!(
            "{:50} {:>8} states {:>8} transitions {:>5} good",
            config.name, report.states, report.transitions, report.good
        );
        assert!(report.failure.is_none(), "\n{said}\n");
        assert!(report.complete, "{}: more than {} states", config.name, report.states);
        assert!(report.good > 0, "{}", config.name);
    }
}

#[test]
fn every_defect_of_the_codec_is_found() {
    let survivors: Vec<&Mutant> = ALL
        .iter()
        .filter(|mutant| {
            let quick = |it: &&Config| it.budget.late == 0 || it.budget.aborts + it.budget.scales == 0;
            let killed = all().iter().filter(quick).find_map(|config| {
                let (report, _) = search(config, **mutant);
                report.failure.map(|it| format!("{}: {} ({} acts)", config.name, it.what, it.trace.len()))
            });
            println!("{mutant:?}: {killed:?}");
            killed.is_none()
        })
        .collect();
    assert!(survivors.is_empty(), "not found: {survivors:?}");
}
