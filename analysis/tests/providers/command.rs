//! Programs of this machine, well and badly behaved.

use std::time::Duration;

use analysis::{
    Counts, Histogram, Measured,
    provider::{AnyQuestion, Command, Failure, Memory, PerArm, Polled},
};

use crate::{
    harness::{Outcome, Test},
    run, span,
};

fn shell(script: &str, timeout: Duration) -> AnyQuestion {
    let command = ["sh", "-c", script].map(str::to_owned).to_vec();
    AnyQuestion::Command(Command { command, timeout: Some(timeout) })
}

fn poll(canary: AnyQuestion, baseline: Option<AnyQuestion>) -> Result<Measured, Failure> {
    let polled = run(async {
        PerArm { canary, baseline }
            .poll(None, span(), None, &mut [Memory::default(), Memory::default()])
            .await
    });
    match polled {
        Polled::Poll(poll, None) => Ok(poll.measured),
        Polled::Poll(_, Some(failure)) => Err(failure),
        Polled::NothingNew => Ok(Measured::Values { canary: vec![], baseline: vec![] }),
    }
}

fn check(script: &'static str, expected: Result<Measured, Failure>) -> Test {
    let name = format!("command: {}", if script.len() < 60 { script } else { &script[..60] });
    Test {
        name,
        check: Box::new(move || {
            let got = poll(shell(script, Duration::from_secs(20)), None);
            if got == expected { vec![] } else { vec![format!("{expected:?} expected, got {got:?}")] }
        }),
    }
}

fn value(it: f64) -> Result<Measured, Failure> {
    Ok(Measured::Values { canary: vec![it], baseline: vec![] })
}

fn both_arms_and_a_histogram() -> Outcome {
    let arm = |by: u32| {
        let script =
            format!("echo '{{\"bounds\":[0.1,0.5],\"buckets\":[{},{},{}]}}'", 3 * by, 4 * by, 5 * by);
        shell(&script, Duration::from_secs(20))
    };
    let expected = Histogram { bounds: vec![0.1, 0.5], canary: vec![3, 4, 5], baseline: vec![27, 36, 45] };
    match poll(arm(1), Some(arm(9))) {
        Ok(Measured::Histogram(it)) if it == expected => vec![],
        other => vec![format!("{other:?}")],
    }
}

fn one_that_hangs_is_ended() -> Outcome {
    let folder = tempfile::tempdir().unwrap();
    let pid = folder.path().join("pid");
    let script = format!("echo $$ > {}; exec sleep 600", pid.display());
    let got = poll(shell(&script, Duration::from_millis(500)), None);
    let mut wrong = vec![];
    if got != Err(Failure::TimedOut(Duration::from_millis(500))) {
        wrong.push(format!("{got:?}"));
    }
    // A program that was so slow to start that it wrote nothing was ended as well.
    let Ok(pid) = std::fs::read_to_string(&pid) else { return wrong };
    let status = std::path::PathBuf::from(format!("/proc/{}/status", pid.trim()));
    let running = || std::fs::read_to_string(&status).is_ok_and(|it| !it.contains("State:\tZ"));
    for _ in 0..2000 {
        if !running() {
            return wrong;
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    wrong.push("it goes on".to_owned());
    wrong
}

pub(crate) fn tests() -> Vec<Test> {
    let test = |name: &str, check: fn() -> Outcome| Test {
        name: format!("command: {name}"),
        check: Box::new(check),
    };
    let not_object = "one object with `total` and `bad`, `value`, `values`, or `bounds` and `buckets`";
    vec![
        check("echo '{\"value\":5}'", value(5.0)),
        check("echo '{\"value\":\"0.25\"}'", value(0.25)),
        check(
            "echo '{\"total\":50,\"bad\":1}'",
            Ok(Measured::Counts { canary: Counts::new(50, 1), baseline: None }),
        ),
        check("echo '{\"values\":[1,2]}'", Ok(Measured::Values { canary: vec![1.0, 2.0], baseline: vec![] })),
        check("echo '{\"values\":[]}'", Err(Failure::NoData)),
        check("echo '{\"value\":\"NaN\"}'", Err(Failure::NotFinite)),
        check("echo '{\"value\":null}'", Err(Failure::NotThis(not_object))),
        check("echo '{\"total\":1,\"bad\":2}'", Err(Failure::Contradictory("more bad events than events"))),
        check("echo '{\"total\":1}'", Err(Failure::NotThis(not_object))),
        check("echo '{\"value\":1,\"secret\":2}'", Err(Failure::NotThis(not_object))),
        check("echo '{\"value\":1,\"value\":2}'", Err(Failure::NotThis("JSON"))),
        check("echo hunter2", Err(Failure::NotThis("JSON"))),
        check("true", Err(Failure::NotThis("JSON"))),
        check("echo '{\"value\":5}'; exit 3", Err(Failure::Program("ended with an error"))),
        check("echo '{\"value\":5}' >&2", Err(Failure::NotThis("JSON"))),
        check("cat; echo '{\"value\":5}'", value(5.0)),
        check("exec head -c 1048577 /dev/zero", Err(Failure::TooLarge { limit: 1_048_576 })),
        check("exec cat /dev/zero", Err(Failure::TooLarge { limit: 1_048_576 })),
        // Nothing of our environment but PATH, and the time that is asked about.
        check("[ -z \"$HOME$CARGO_MANIFEST_DIR$SERINUS_TESTS\" ] && echo '{\"value\":5}'", value(5.0)),
        check(
            "[ \"$SERINUS_FROM $SERINUS_TO\" = \"2027-01-15T07:58:00Z 2027-01-15T08:00:00Z\" ] && echo '{\"value\":5}'",
            value(5.0),
        ),
        test("one that is not there", || {
            let command = vec!["/nowhere/at/all".to_owned()];
            match poll(AnyQuestion::Command(Command { command, timeout: None }), None) {
                Err(Failure::Program("cannot be started")) => vec![],
                other => vec![format!("{other:?}")],
            }
        }),
        test("both arms and a histogram", both_arms_and_a_histogram),
        test("one that hangs is ended", one_that_hangs_is_ended),
    ]
}
