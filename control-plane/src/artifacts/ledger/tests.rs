use std::sync::Arc;
use std::time::{Duration, Instant};

use super::{Job, Ledger, Phase};
use crate::api::meta::{Key, Meta};
use crate::artifacts::check::Checked;
use crate::artifacts::failure::{Failure, Step};
use crate::world::{Object, World};

fn world(url: &str, policy: &str) -> World {
    let spec =
        serde_json::from_value(serde_json::json!({"url": url, "imagePullPolicy": policy})).expect("a spec");
    let meta = Meta {
        name: "p".into(),
        namespace: "n".into(),
        ..Meta::default()
    };
    let mut world = World::default();
    world
        .wasm_plugins
        .insert(meta.key(), Arc::new(Object { meta, spec }));
    world
}

fn key() -> Key {
    Key {
        namespace: "n".into(),
        name: "p".into(),
    }
}

fn checked(sha256: &str) -> Checked {
    Checked {
        sha256: sha256.into(),
        ..Checked::default()
    }
}

fn failure(reason: &str) -> Failure {
    Failure::new(Step::Verify, reason.to_owned())
}

fn only(jobs: Vec<Job>) -> Job {
    assert_eq!(jobs.len(), 1);
    jobs.into_iter().next().expect("a job")
}

#[test]
fn a_failed_version_keeps_the_last_good_and_is_tried_again_later() {
    let (mut ledger, start) = (Ledger::new(Duration::from_secs(10)), Instant::now());
    let first = world("oci://r/a/b:v1", "IfNotPresent");
    let job = only(ledger.jobs(&first, start));
    ledger.finished(&job, Ok(checked("aa")), start);
    assert!(
        ledger.jobs(&first, start + Duration::from_secs(100)).is_empty(),
        "a fixed tag is asked for once"
    );
    assert_eq!(ledger.due(), None);

    let second = world("oci://r/a/b:v2", "IfNotPresent");
    let job = only(ledger.jobs(&second, start));
    ledger.finished(&job, Err(failure("not Wasm")), start);
    let state = &ledger.states()[&key()];
    let (plugin, good) = state.good.as_ref().expect("the last good");
    assert_eq!(
        (plugin.spec.url.as_str(), good.sha256.as_str()),
        ("oci://r/a/b:v1", "aa")
    );
    assert_eq!(state.failure, Some(failure("not Wasm")));
    assert_eq!(ledger.due(), Some(start + Duration::from_secs(1)));
    assert!(ledger.jobs(&second, start).is_empty());

    let job = only(ledger.jobs(&second, start + Duration::from_secs(1)));
    ledger.finished(&job, Ok(checked("bb")), start);
    let state = &ledger.states()[&key()];
    assert_eq!(
        (
            state.failure.clone(),
            state.good.as_ref().map(|good| good.1.sha256.as_str())
        ),
        (None, Some("bb"))
    );
}

#[test]
fn moving_tags_are_looked_at_again_and_at_once_after_a_push() {
    let (mut ledger, start) = (Ledger::new(Duration::from_secs(10)), Instant::now());
    let world = world("oci://r:5000/a/b:v1", "Always");
    let job = only(ledger.jobs(&world, start));
    assert!(job.ask);
    ledger.finished(&job, Ok(checked("aa")), start);
    assert_eq!(ledger.due(), Some(start + Duration::from_secs(10)));
    ledger.pushed("other/b");
    assert_eq!(ledger.due(), Some(start + Duration::from_secs(10)));
    ledger.pushed("a/b");
    assert!(ledger.due().expect("due") <= Instant::now());
}

#[test]
fn results_for_a_plugin_that_changed_count_for_nothing() {
    let (mut ledger, start) = (Ledger::new(Duration::from_secs(10)), Instant::now());
    let old = only(ledger.jobs(&world("oci://r/a/b:v1", "IfNotPresent"), start));
    let new = only(ledger.jobs(&world("oci://r/a/b:v2", "IfNotPresent"), start));
    ledger.finished(&new, Ok(checked("bb")), start);
    ledger.finished(&old, Ok(checked("aa")), start);
    assert_eq!(
        ledger.states()[&key()].good.as_ref().expect("good").1.sha256,
        "bb"
    );
    assert!(ledger.jobs(&World::default(), start).is_empty());
    assert!(
        ledger.states().is_empty(),
        "what is not wanted any more is forgotten"
    );
}

#[test]
fn a_new_version_is_pending_and_the_failure_of_the_one_before_is_forgotten() {
    let (mut ledger, start) = (Ledger::new(Duration::from_secs(10)), Instant::now());
    let versions = ["v1", "v2", "v3"].map(|tag| world(&format!("oci://r/a/b:{tag}"), "IfNotPresent"));
    let plugin = |version: usize| Arc::clone(&versions[version].wasm_plugins[&key()]);
    let job = only(ledger.jobs(&versions[0], start));
    assert_eq!(ledger.states()[&key()].phase(&plugin(0)), Phase::Pending);
    ledger.finished(&job, Ok(checked("aa")), start);
    assert_eq!(ledger.states()[&key()].phase(&plugin(0)), Phase::Ready);
    // Before the ledger has seen it, too.
    assert_eq!(ledger.states()[&key()].phase(&plugin(1)), Phase::Pending);
    let job = only(ledger.jobs(&versions[1], start));
    assert_eq!(ledger.states()[&key()].phase(&plugin(1)), Phase::Pending);
    ledger.finished(&job, Err(failure("no v2")), start);
    assert_eq!(
        ledger.states()[&key()].phase(&plugin(1)),
        Phase::Failed(&failure("no v2"))
    );
    // A retry does not hide why it is needed.
    only(ledger.jobs(&versions[1], start + Duration::from_secs(1)));
    assert_eq!(
        ledger.states()[&key()].phase(&plugin(1)),
        Phase::Failed(&failure("no v2"))
    );
    assert_eq!(ledger.states()[&key()].phase(&plugin(2)), Phase::Pending);
    only(ledger.jobs(&versions[2], start + Duration::from_secs(1)));
    let state = &ledger.states()[&key()];
    assert_eq!((state.phase(&plugin(2)), &state.failure), (Phase::Pending, &None));
    assert_eq!(state.good.as_ref().expect("the last good").1.sha256, "aa");
}

#[test]
fn a_retry_that_fails_alike_is_no_news_and_is_counted() {
    let (mut ledger, start) = (Ledger::new(Duration::from_secs(10)), Instant::now());
    let world = world("oci://r/a/b:v1", "Always");
    let mut now = start;
    let mut ends = |outcome: Result<Checked, Failure>| {
        now += Duration::from_secs(60);
        let job = only(ledger.jobs(&world, now));
        let is_news = ledger.finished(&job, outcome, now);
        (
            is_news,
            ledger.states()[&key()].failed.get(&Step::Verify).copied(),
        )
    };
    assert_eq!(ends(Err(failure("a"))), (true, Some(1)));
    assert_eq!(ends(Err(failure("a"))), (false, Some(2)));
    assert_eq!(ends(Err(failure("b"))), (true, Some(3)));
    assert_eq!(ends(Ok(checked("aa"))), (true, Some(3)));
    assert_eq!(ends(Ok(checked("aa"))), (false, Some(3)));
    assert_eq!(ends(Ok(checked("bb"))), (true, Some(3)));
    assert_eq!(ends(Err(failure("b"))), (true, Some(4)));
}
