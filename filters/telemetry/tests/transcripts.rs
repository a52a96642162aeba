//! The scripts that every build of the filter must follow, on the native one.

#[test]
fn the_native_build_follows_its_transcripts() {
    leno_sdk::testing::follows_transcripts::<leno_filter_telemetry::Telemetry>("transcripts");
}
