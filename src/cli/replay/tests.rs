use super::*;

/// A journal that an earlier version wrote, and that stays: a canary that was promoted, and one that turned back.
const GOLDEN: [&str; 1] = ["tests/journals/demo.jsonl"];

fn golden(path: &str) -> Vec<JournalRecord> {
    kept(&Path::new(env!("CARGO_MANIFEST_DIR")).join(path)).unwrap()
}

#[test]
fn journals_of_earlier_versions_are_decided_in_the_same_way_today() {
    for path in GOLDEN {
        let findings = replay(&golden(path));
        assert!(findings.clean(), "{path}: {}", text(&findings));
        assert!(20 < findings.decisions, "{path}: {}", text(&findings));
    }
}

#[test]
fn an_altered_input_is_noticed() {
    for path in GOLDEN {
        let records = golden(path);
        let whole = |it: &JournalRecord| it.body.pointer("/inputs/status").is_some();
        let mut tried = 0;
        for index in (0..records.len()).filter(|it| whole(&records[*it])) {
            let mut altered = records.clone();
            let status = altered[index].body.pointer_mut("/inputs/status").unwrap();
            status["attempt"] = serde_json::json!(77);
            let findings = replay(&altered);
            assert!(!findings.clean(), "{path}: record {index}");
            let first = &findings.unreadable[0];
            assert_eq!(
                (first.sequence, first.why.as_str()),
                (records[index].sequence, "its inputs are not what was decided on")
            );
            tried += 1;
        }
        assert!(0 < tried);
    }
}

#[test]
fn an_altered_decision_is_shown_with_its_place() {
    let mut records = golden(GOLDEN[0]);
    let index =
        records.iter().position(|it| it.kind == "decision" && it.body["next"].get("save").is_some()).unwrap();
    let sequence = records[index].sequence;
    records[index].body["next"]["save"]["attempt"] = serde_json::json!(77);
    let findings = replay(&records);
    assert_eq!((findings.same, findings.differences.len()), (findings.decisions - 1, 1));
    let it = &findings.differences[0];
    assert_eq!((it.sequence, it.path.as_str()), (sequence, "/next/save/attempt"));
    assert_eq!(it.then, serde_json::json!(77));
    assert!(text(&findings).contains("/next/save/attempt"), "{}", text(&findings));
}

#[test]
fn a_journal_without_its_beginning_is_decided_from_the_first_whole_record_on() {
    let mut records = golden(GOLDEN[0]);
    let first = records.iter().position(|it| it.kind == "decision").unwrap();
    records.drain(..=first);
    let findings = replay(&records);
    assert!(0 < findings.without_start, "{}", text(&findings));
    assert!(findings.differences.is_empty() && findings.unreadable.is_empty(), "{}", text(&findings));
}

#[test]
fn what_is_no_journal_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("journal.jsonl");
    for (content, why) in
        [("", "holds no record"), ("{}\n", "no record of a journal"), ("\u{0}\n", "no record of a journal")]
    {
        std::fs::write(&path, content).unwrap();
        let failure = kept(&path).unwrap_err();
        assert!(failure.to_string().contains(why), "{content}: {failure}");
        assert_eq!(failure.exit(), Exit::Usage);
    }
    assert_eq!(kept(&folder.path().join("absent")).unwrap_err().exit(), Exit::Usage);
}
