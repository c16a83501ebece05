//! What every strategy compiles to.

use proptest::prelude::*;
use serinus::spec;
use strategies::{
    Name, Weight,
    recipe::{Context, Exponential, Factor, Linear, MOST_STEPS, Recipe, Steps, Strategy},
};

fn steps(strategy: &Strategy) -> Steps {
    strategy.steps(Context { analyses: &[Name::from("golden")] })
}

/// What must hold of the steps of a strategy without mistakes.
fn holds(made: &Steps) {
    assert_eq!(made.mistakes, []);
    assert_eq!(made.steps.len(), made.origins.len());
    assert!(made.steps.len() <= MOST_STEPS);
    let last = made.steps.last().expect("there is a step");
    assert_eq!(last.weight, Some(Weight::FULL), "the last step asks for everything");
    for (index, step) in made.steps.iter().enumerate() {
        assert!(
            made.steps.iter().skip(index + 1).all(|it| it.name != step.name),
            "{} stands twice",
            step.name
        );
    }
}

#[test]
fn every_strategy_compiles_to_the_steps_that_are_written_down() {
    for strategy in Strategy::examples() {
        let made = steps(&strategy);
        holds(&made);
        let written = serde_json::to_string(&strategy).unwrap();
        let mut text = format!("{written}\n\n");
        for step in &made.steps {
            let mut step = serde_json::to_value(step).unwrap();
            let fields = step.as_object_mut().unwrap();
            fields.retain(|_, it| !it.is_null() && *it != serde_json::json!([]));
            text += &format!("{step}\n");
        }
        for it in &made.uses {
            text += &format!("{} is {:?} {}\n", it.analysis, it.kind, it.template);
        }
        let number = Strategy::examples()
            .iter()
            .filter(|it| it.key() == strategy.key())
            .position(|it| *it == strategy);
        let name = format!("{}-{}", strategy.key(), number.unwrap() + 1);
        let mut settings = insta::Settings::clone_current();
        settings.set_snapshot_path("recipes");
        settings.set_prepend_module_to_snapshot(false);
        settings.set_omit_expression(true);
        settings.bind(|| insta::assert_snapshot!(name, text));
    }
}

#[test]
fn what_a_strategy_is_written_as_reads_back_and_has_no_mistake() {
    for strategy in Strategy::examples() {
        let written = serde_json::to_string(&strategy).unwrap();
        // A template that an example names, and one that can be judged at 100 %.
        let template = "---\napiVersion: serinus.dev/v1alpha1\nkind: AnalysisTemplate\nmetadata: { name: smoke }\nspec:\n  metrics:\n    - { name: a, judge: { threshold: { pass: \"result < 1\" } }, provider: { proxy: { signal: errors } } }\n";
        let guard = "analyses: [ { name: g, templateRef: { name: smoke } } ]";
        let text = super::with_fields(guard).replace("{ canary: {} }", &written) + template;
        let text = text.replace("\"bake\":null,", "");
        let read = spec::read("example.yaml", text.as_bytes());
        assert!(read.diagnostics.is_empty(), "{}", super::report(&read));
        assert_eq!(serde_json::from_str::<Strategy>(&written).unwrap(), strategy);
    }
}

fn weight() -> impl Strategy_<Value = Weight> {
    prop_oneof![(0_u32..=1_000_000).prop_map(Weight::from_ppm), (0_u32..=100).prop_map(Weight::from_percent)]
}

use proptest::strategy::Strategy as Strategy_;

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_climb_ends_at_everything_or_says_why_not(
        from in proptest::option::of(weight()),
        by in weight(),
        up_to in weight(),
        factor in 1_u32..=100,
    ) {
        let linear = Strategy::Linear(Linear { from, by, up_to, ..Linear::default() });
        let factor: Factor = format!("{factor}x").parse().unwrap();
        let from = from.unwrap_or(Weight::ONE_PERCENT);
        let exponential = Strategy::Exponential(Exponential { from, factor, up_to, ..Exponential::default() });
        for strategy in [linear, exponential] {
            let made = steps(&strategy);
            if made.mistakes.is_empty() {
                holds(&made);
                let weights: Vec<Weight> = made.steps.iter().filter_map(|it| it.weight).collect();
                prop_assert!(weights.is_sorted(), "{weights:?}");
            }
        }
    }
}
