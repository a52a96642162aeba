//! Bootstrap files: refused with a reason, or a value that is the same after another trip.

use leno_xds::bootstrap;

pub(super) fn check(input: &[u8]) {
    let Ok(text) = std::str::from_utf8(input) else {
        return;
    };
    let value = match bootstrap::from_yaml(text) {
        Ok(value) => value,
        Err(refusal) => return assert!(!refusal.reason.is_empty(), "{refusal:?}"),
    };
    let json = bootstrap::to_json(&value).unwrap_or_else(|refusal| panic!("{refusal}: {value:?}"));
    let again = bootstrap::from_json(&json.to_string()).unwrap_or_else(|refusal| panic!("{refusal}: {json}"));
    assert_eq!(value, again, "{json}");
    assert_eq!(bootstrap::to_json(&again).ok(), Some(json));
}
