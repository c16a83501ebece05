//! What others are asked and what they answer.

use super::*;

/// An answer to a question asked at `second`: so many requests since the last one.
fn answer(second: i64, canary: u64, baseline: u64) -> Polled {
    let counts = |total| analysis::Counts::new(total, 0);
    let measured = analysis::Measured::Counts { canary: counts(canary), baseline: Some(counts(baseline)) };
    Polled::Poll(analysis::Poll { at: at(second), weight: None, measured }, None)
}

fn counted_by_others(rig: &Rig) -> u64 {
    let view = &rig.analyses.evidence()[0];
    view.metrics[0].evidence.as_ref().map_or(0, |it| it.canary.total)
}

#[test]
fn others_are_asked_for_what_is_due_and_their_answers_count() {
    let mut rig = Rig::new().listed(&[guard("asked")]);
    assert_eq!(rig.analyses.asks(at(0)), [], "nothing has happened yet");
    for second in 1..=3 {
        rig.second((10, 0), (90, 0));
        let asks = rig.analyses.asks(at(second));
        assert_eq!((asks.len(), asks[0].since, asks[0].compared), (1, at(0), true));
        rig.analyses.answered(asks[0].clone(), &answer(second, 100, 900), at(second));
        assert_eq!(rig.analyses.asks(at(second)), [], "it has been answered");
        assert_eq!(counted_by_others(&rig), 100 * second as u64);
    }
}

#[test]
fn an_answer_that_comes_after_the_split_has_changed_counts_for_nothing() {
    let mut rig = Rig::new().listed(&[guard("asked")]);
    rig.second((10, 0), (90, 0));
    let asked = rig.analyses.asks(at(1)).remove(0);
    rig.arms.weight = Weight::from_percent(20);
    rig.second((10, 0), (90, 0));
    rig.analyses.answered(asked, &answer(1, 100, 900), at(2));
    assert_eq!(counted_by_others(&rig), 0);
    rig.second((10, 0), (90, 0));
    assert_eq!(rig.analyses.asks(at(3))[0].since, at(2), "the next question is about the new split only");
}

#[test]
fn nobody_is_asked_for_what_does_not_count_now() {
    let mut rig = Rig::new().listed(&[withheld("asked")]);
    rig.second((10, 0), (90, 0));
    assert_eq!(rig.analyses.asks(at(1)), []);
    rig.list(&[]);
    rig.second((10, 0), (90, 0));
    assert_eq!(rig.analyses.asks(at(2)), []);
}

#[test]
fn what_is_remembered_of_others_is_stored_with_the_evidence_and_forgotten_with_the_question() {
    let mut rig = Rig::new().listed(&[guard("asked")]);
    rig.second((10, 0), (90, 0));
    let ask = rig.analyses.asks(at(1)).remove(0);
    rig.analyses.answered(ask, &answer(1, 100, 900), at(1));
    let stored = serde_json::to_string(&rig.analyses.checkpoint()).unwrap();
    let restored = |definitions| {
        let checkpoint = serde_json::from_str(&stored).unwrap();
        Analyses::restore(definitions, Duration::from_mins(30), checkpoint)
    };
    assert_eq!(restored(definitions()).asks(at(3)), rig.analyses.asks(at(3)));
    let mut other = definitions();
    other.get_mut("asked").unwrap().metrics[0].reads = Reads::Asked { digest: 2 };
    assert!(restored(other).evidence().is_empty(), "evidence is of one question only");
}
