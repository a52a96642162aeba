//! The filter that `leno new` writes works as it is written.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use leno_sdk::native::start;
use leno_sdk::testing::Transcript;

#[path = "../template/src/lib.rs"]
#[allow(unreachable_pub, reason = "it is the root of a crate of its own")]
mod example_filter;

#[test]
fn the_template_follows_its_transcript() {
    let text = include_str!("../template/transcripts/basics.yaml");
    let transcript: Transcript = serde_saphyr::from_str(text).unwrap();
    assert_eq!(transcript.run(start::<example_filter::ExampleFilter>), Ok(()));
}
