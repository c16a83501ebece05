//! The store without faults; with them: `tests/store_faults`.

use std::fs;

use jiff::Timestamp;
use serde_json::{Value, json};

use super::*;
use crate::journal::NewRecord;

const AT: Timestamp = Timestamp::UNIX_EPOCH;

fn opened() -> (tempfile::TempDir, Store) {
    let state = tempfile::tempdir().unwrap();
    let store = Store::open(state.path()).unwrap();
    (state, store)
}

fn note(body: &str) -> NewRecord<'_> {
    NewRecord { rollout: "shop", at: AT, kind: "decision", body }
}

/// Opens the database beside the store, to damage it.
fn by_hand(state: &Path, sql: &str) {
    Connection::open(state.join(FILE)).unwrap().execute_batch(sql).unwrap();
}

#[test]
fn a_status_is_saved_only_over_the_one_that_was_seen() {
    let (state, mut store) = opened();
    let save =
        |store: &mut Store, seen, n| store.commit(|c| c.save_status("shop", seen, AT, &json!({ "n": n })));
    assert_eq!(store.status::<Value>("shop").unwrap(), None);
    assert_eq!(save(&mut store, 0, 1).unwrap(), 1);
    assert_eq!(save(&mut store, 1, 2).unwrap(), 2);
    for stale in [0, 1, 3] {
        let error = save(&mut store, stale, 9).unwrap_err();
        assert!(error.retryable() && !error.poisons(), "{error}");
    }
    assert_eq!(store.health(), Health::Good);
    drop(store);
    let store = Store::open(state.path()).unwrap();
    let saved = store.status::<Value>("shop").unwrap().unwrap();
    assert_eq!((saved.fence, saved.at, saved.status), (2, AT, json!({ "n": 2 })));
}

#[test]
fn a_change_is_saved_whole_or_not_at_all() {
    let (_state, mut store) = opened();
    let error = store.commit(|change| {
        change.append_journal(&note("{}"))?;
        change.save_status("shop", 7, AT, &1)
    });
    assert!(matches!(error, Err(StoreError::Fenced { found: 0, .. })));
    assert!(store.journal(None, 0, 10).unwrap().is_empty());
    assert_eq!(store.health(), Health::Good);
}

#[test]
fn an_order_is_the_same_however_often_it_comes() {
    let (_state, mut store) = opened();
    let give =
        |store: &mut Store, id: &str, order: &str| store.commit(|c| c.append_order(id, "shop", AT, &order));
    assert_eq!(give(&mut store, "1", "abort").unwrap(), Appended::New);
    assert_eq!(give(&mut store, "1", "abort").unwrap(), Appended::Known(OrderState::Pending));
    assert!(matches!(give(&mut store, "1", "promote"), Err(StoreError::OrderDiffers(_))));
    assert_eq!(give(&mut store, "2", "promote").unwrap(), Appended::New);
    store.commit(|c| c.close_order("1", OrderState::Accepted, AT)).unwrap();
    store.commit(|c| c.close_order("1", OrderState::Expired, AT)).unwrap();
    assert_eq!(give(&mut store, "1", "abort").unwrap(), Appended::Known(OrderState::Accepted));
    let pending: Vec<_> = store.orders::<String>("shop", OrderState::Pending).unwrap();
    assert_eq!(pending.iter().map(|o| o.order.as_str()).collect::<Vec<_>>(), ["promote"]);
    assert!(matches!(
        store.commit(|c| c.close_order("3", OrderState::Expired, AT)),
        Err(StoreError::NoSuchOrder(_))
    ));
}

#[test]
fn closed_orders_are_bounded_and_pending_ones_are_never_dropped() {
    let (_state, mut store) = opened();
    store
        .commit(|change| {
            change.append_order("kept", "shop", AT, &0)?;
            for n in 0..1_200 {
                let id = n.to_string();
                change.append_order(&id, "shop", AT, &n)?;
                change.close_order(&id, OrderState::Expired, AT)?;
            }
            Ok(())
        })
        .unwrap();
    let closed = store.orders::<i32>("shop", OrderState::Expired).unwrap();
    assert_eq!((closed.len(), closed[0].order, closed[999].order), (1_000, 200, 1_199));
    assert_eq!(store.orders::<i32>("shop", OrderState::Pending).unwrap().len(), 1);
}

#[test]
fn a_document_gets_a_generation_per_change() {
    let (_state, mut store) = opened();
    let apply =
        |store: &mut Store, text: &str| store.commit(|c| c.apply_document("shop", AT, text, &json!({})));
    assert_eq!(apply(&mut store, "a: 1").unwrap(), 1);
    assert_eq!(apply(&mut store, "a: 1").unwrap(), 1);
    for generation in 2..=20 {
        assert_eq!(apply(&mut store, &format!("a: {generation}")).unwrap(), generation);
    }
    let latest = store.documents::<Value>().unwrap();
    assert_eq!((latest.len(), latest[0].generation, latest[0].text.as_str()), (1, 20, "a: 20"));
    assert_eq!(store.document::<Value>("shop").unwrap().unwrap(), latest[0]);
    let kept: i64 =
        store.connection.query_row("SELECT count(*) FROM document", [], |row| row.get(0)).unwrap();
    assert_eq!(kept, 16);
    store.commit(|c| c.remove_rollout("shop")).unwrap();
    assert!(store.documents::<Value>().unwrap().is_empty() && store.rollouts().unwrap().is_empty());
}

#[test]
fn checkpoints_and_revisions_are_kept_by_name() {
    let (_state, mut store) = opened();
    store
        .commit(|change| {
            change.save_checkpoint("shop", "errors", AT, &1)?;
            change.save_checkpoint("shop", "errors", AT, &2)?;
            change.save_checkpoint("shop", "latency", AT, &3)?;
            change.remove_checkpoint("shop", "latency")?;
            change.save_revision("shop", "b", AT, &1)?;
            change.save_revision("shop", "a", AT, &2)?;
            change.save_revision("shop", "b", AT, &3)?;
            change.save_revision("shop", "c", AT, &4)?;
            change.remove_revision("shop", "c")
        })
        .unwrap();
    let checkpoints = store.checkpoints::<i32>("shop").unwrap();
    assert_eq!(
        checkpoints.iter().map(|c| (c.name.as_str(), c.checkpoint)).collect::<Vec<_>>(),
        [("errors", 2)]
    );
    let revisions = store.revisions::<i32>("shop").unwrap();
    let known: Vec<_> = revisions.iter().map(|r| (r.revision.as_str(), r.body)).collect();
    assert_eq!(known, [("b", 3), ("a", 2)]);
}

#[test]
fn the_journal_is_bounded_and_its_chain_holds_all_the_same() {
    let (state, mut store) = opened();
    store.limit_journal(JournalLimits { records: 10, bytes: 1 << 20 });
    for n in 1..=25_u64 {
        assert_eq!(store.commit(|c| c.append_journal(&note(&n.to_string()))).unwrap(), n);
    }
    let kept = store.journal(None, 0, 100).unwrap();
    assert_eq!((kept.len(), kept[0].sequence, kept[9].decode::<u64>().unwrap()), (10, 16, 25));
    store.check_journal().unwrap();
    store.limit_journal(JournalLimits { records: 10, bytes: 100 });
    store.commit(|c| c.append_journal(&note(&"x".repeat(99)))).unwrap();
    assert_eq!(store.journal(None, 0, 100).unwrap().len(), 1);
    store.commit(|c| c.append_journal(&note(&"x".repeat(1_000)))).unwrap();
    assert_eq!(store.journal_tail(Some("shop"), 5).unwrap()[0].sequence, 27);
    drop(store);
    Store::open(state.path()).unwrap().check_journal().unwrap();
}

#[test]
fn a_journal_that_lost_or_changed_a_record_is_refused() {
    for damage in [
        "DELETE FROM journal WHERE sequence = 5",
        "DELETE FROM journal WHERE sequence = 3",
        "UPDATE journal SET body = '{}' WHERE sequence = 4",
        "UPDATE journal_ends SET last = 4",
    ] {
        let (state, mut store) = opened();
        for n in 1..=5 {
            store.commit(|c| c.append_journal(&note(&n.to_string()))).unwrap();
        }
        drop(store);
        by_hand(state.path(), damage);
        let error = Store::open(state.path()).unwrap_err().to_string();
        assert!(error.contains("is damaged") && error.contains("journal"), "{damage}: {error}");
    }
}

#[test]
fn a_row_that_is_not_what_was_written_is_refused() {
    for damage in [
        "UPDATE status SET body = '2'",
        "UPDATE status SET fence = 9",
        "UPDATE orders SET state = 'pending'",
        "UPDATE orders SET closed_at = NULL",
        "UPDATE document SET text = 'b'",
        "UPDATE revision SET revision = 's'",
        "UPDATE checkpoint SET seal = NULL",
    ] {
        let (state, mut store) = opened();
        store
            .commit(|change| {
                change.save_status("shop", 0, AT, &1)?;
                change.append_order("1", "shop", AT, &"abort")?;
                change.close_order("1", OrderState::Accepted, AT)?;
                change.apply_document("shop", AT, "a", &1)?;
                change.save_checkpoint("shop", "errors", AT, &1)?;
                change.save_revision("shop", "r", AT, &1)
            })
            .unwrap();
        drop(store);
        drop(Store::open(state.path()).unwrap());
        by_hand(state.path(), damage);
        let error = Store::open(state.path()).unwrap_err().to_string();
        assert!(error.contains("is not what was written"), "{damage}: {error}");
    }
}

#[test]
fn a_store_of_a_later_version_is_refused_and_left_alone() {
    let (state, mut store) = opened();
    store.commit(|c| c.save_status("shop", 0, AT, &1)).unwrap();
    drop(store);
    by_hand(state.path(), "UPDATE schema SET format = 2");
    let error = Store::open(state.path()).unwrap_err();
    assert!(matches!(error, OpenError::Newer { found: 2, known: 1, .. }), "{error}");
    by_hand(state.path(), "UPDATE schema SET format = 1");
    assert!(Store::open(state.path()).unwrap().status::<i32>("shop").unwrap().is_some());
}

#[test]
fn a_damaged_file_is_refused_left_alone_and_set_aside_only_on_request() {
    for damage in [Vec::new(), b"not a database at all".to_vec(), vec![0; 8192]] {
        let (state, store) = opened();
        drop(store);
        let path = state.path().join(FILE);
        fs::write(&path, &damage).unwrap();
        let error = Store::open(state.path()).unwrap_err().to_string();
        assert!(error.contains("is damaged") && error.contains(".corrupt"), "{error}");
        assert_eq!(fs::read(&path).unwrap(), damage);
        let aside = set_aside(state.path()).unwrap();
        assert_eq!(fs::read(aside).unwrap(), damage);
        drop(Store::open(state.path()).unwrap());
        assert!(set_aside(state.path()).unwrap().ends_with("store.db.corrupt-2"));
    }
}

#[test]
fn a_second_writer_is_told_who_has_it() {
    let (state, _store) = opened();
    let error = Store::open(state.path()).unwrap_err().to_string();
    assert!(error.contains(&format!("in use by process {}", std::process::id())), "{error}");
}

#[test]
fn a_half_made_store_is_made_again() {
    let state = tempfile::tempdir().unwrap();
    fs::write(state.path().join("store.db.new"), "half").unwrap();
    drop(Store::open(state.path()).unwrap());
    assert!(!state.path().join("store.db.new").exists());
}

#[test]
fn every_saved_word_survives_closing_without_a_checkpoint() {
    let (state, mut store) = opened();
    store.limit_log(64 << 10);
    for n in 0..200_u64 {
        store.commit(|c| c.save_status("shop", n, AT, &"x".repeat(500))).unwrap();
    }
    assert!(fs::metadata(wal(&state.path().join(FILE))).unwrap().len() < 128 << 10, "the log is bounded");
    drop(store);
    assert_eq!(Store::open(state.path()).unwrap().status::<String>("shop").unwrap().unwrap().fence, 200);
}
