//! Checks the rollout machine in every configuration of the model, as far as memory allows.
//!
//! `cargo run --release -p strategies --example check -- [--states 20M] [--live] [--only NAME] [--threads 2]`
//!
//! `--mutants` looks for a trace that kills each mutant, or the one that `--only` names, instead, in every configuration or
//! in those that `--in` names, and writes it to `tests/mutants/`; a trace there that still kills its mutant is kept.

#[path = "../tests/model/checker.rs"]
mod checker;

use std::process::ExitCode;

use checker::{
    bridge::Model,
    config,
    coverage::Coverage,
    mutants::{Defect, Kill},
    search::{Bounds, Report, search},
};

struct Asked {
    states: usize,
    live: bool,
    threads: usize,
    only: Vec<String>,
    /// The configurations in which a mutant is looked for; empty: all.
    places: Vec<String>,
    mutants: bool,
}

fn asked() -> Result<Asked, String> {
    let mut asked =
        Asked { states: 1_000_000, live: false, threads: 2, only: vec![], places: vec![], mutants: false };
    let mut words = std::env::args().skip(1);
    while let Some(word) = words.next() {
        let mut value = || words.next().ok_or_else(|| format!("{word} needs a value"));
        match word.as_str() {
            "--states" => asked.states = number(&value()?)?,
            "--threads" => asked.threads = number(&value()?)?,
            "--only" => asked.only.push(value()?),
            "--in" => asked.places.push(value()?),
            "--mutants" => asked.mutants = true,
            "--live" => asked.live = true,
            other => return Err(format!("unknown option {other}")),
        }
    }
    Ok(asked)
}

fn number(text: &str) -> Result<usize, String> {
    let units = [('k', 1_000), ('M', 1_000_000)];
    let unit = units.iter().find_map(|(unit, it)| Some((text.strip_suffix(*unit)?, *it)));
    let (digits, unit) = unit.unwrap_or((text, 1));
    digits.parse::<usize>().map(|it| it * unit).map_err(|it| format!("{text}: {it}"))
}

fn main() -> ExitCode {
    let asked = match asked() {
        Ok(asked) => asked,
        Err(message) => {
            eprintln!("{message}");
            return ExitCode::from(2);
        }
    };
    if asked.mutants {
        return hunt(&asked);
    }
    let mut coverage = Coverage::default();
    let (mut states, mut failed) = (0, false);
    for config in config::all() {
        if !asked.only.is_empty() && !asked.only.iter().any(|it| it == config.name) {
            continue;
        }
        let live = asked.live && config.live;
        let model = Model::new(config);
        #[expect(clippy::disallowed_methods, reason = "a command that prints how long it took")]
        let began = std::time::Instant::now();
        let report = search(&model, Bounds { states: asked.states, threads: asked.threads, live });
        print(&model, &report, began.elapsed(), live);
        failed |= report.failure.is_some();
        states += report.states;
        coverage.0.extend(report.coverage.0);
    }
    println!("{states} states in all; not reached: {:?}", coverage.missing());
    ExitCode::from(u8::from(failed))
}

/// Looks for the shortest trace that each mutant does not survive.
fn hunt(asked: &Asked) -> ExitCode {
    let place = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/mutants");
    let mut alive = 0;
    for defect in Defect::all() {
        let name = defect.name();
        if !asked.only.is_empty() && !asked.only.contains(&name) {
            continue;
        }
        let file = place.join(format!("{name}.txt"));
        let known = std::fs::read_to_string(&file).ok().and_then(|text| Kill::read(&text).ok());
        if let Some(kill) = known.filter(|it| it.holds(defect)) {
            println!(
                "{name:<24} {} in {} after {} acts, as before",
                kill.breaks,
                kill.config,
                kill.acts.len()
            );
            continue;
        }
        let Some(kill) = defect.hunt(&asked.places, asked.states, asked.threads) else {
            println!("{name:<24} ALIVE");
            alive += 1;
            continue;
        };
        let clean = kill.without();
        println!("{name:<24} {} in {} after {} acts", kill.breaks, kill.config, kill.acts.len());
        if let Some(broken) = clean {
            println!("    and without it {broken}");
            alive += 1;
        }
        if let Err(error) = std::fs::write(&file, kill.write()) {
            eprintln!("cannot write the trace of {name} to {}: {error}", file.display());
            return ExitCode::FAILURE;
        }
    }
    println!("{alive} alive");
    ExitCode::from(u8::from(alive > 0))
}

fn print(model: &Model, report: &Report, took: std::time::Duration, live: bool) {
    let outcome = match (&report.failure, report.complete, live) {
        (Some(it), ..) => format!("VIOLATION {}", it.violation),
        (None, true, true) => format!("safe, never stuck ({} good ends)", report.good),
        (None, true, false) => "safe".to_owned(),
        (None, false, _) => "safe as far as explored".to_owned(),
    };
    println!(
        "{:<28} {:>10} states {:>11} transitions  depth {:>3}  {:>6.1} s  {outcome}",
        model.config.name,
        report.states,
        report.transitions,
        report.depth,
        took.as_secs_f64(),
    );
    if let Some(failure) = &report.failure {
        for line in checker::search::narrate(model, failure) {
            println!("    {line}");
        }
    }
}
