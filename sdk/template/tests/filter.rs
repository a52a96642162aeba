use leno_sdk::native::start;
use leno_sdk::testing::{Mesh, Transcript, get};
use example_filter::ExampleFilter;

const CONFIG: &str = r#"{"requiredHeader": "x-tenant"}"#;

#[test]
fn refuses_requests_without_the_header() {
    let filter = Mesh::new().worker().native::<ExampleFilter>(CONFIG).unwrap();
    filter.run(get("/")).assert_reply(400).assert_details("header_missing");
    filter.run(get("/").header("x-tenant", "blue")).assert_status(200);
}

#[test]
fn follows_its_transcript() {
    let transcript: Transcript = serde_saphyr::from_str(include_str!("../transcripts/basics.yaml")).unwrap();
    assert_eq!(transcript.run(start::<ExampleFilter>), Ok(()));
}
