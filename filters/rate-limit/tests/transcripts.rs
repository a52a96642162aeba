//! The scripts that every build of the filter must follow, on the native one.

use leno_sdk::native::start;
use leno_sdk::testing::Transcript;

#[test]
fn the_native_build_follows_its_transcripts() {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/transcripts");
    let mut count = 0;
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let text = std::fs::read_to_string(&path).unwrap();
        let transcript: Transcript = serde_saphyr::from_str(&text).unwrap();
        let result = transcript.run(start::<leno_filter_rate_limit::RateLimit>);
        assert_eq!(result, Ok(()), "{}", path.display());
        count += 1;
    }
    assert!(count > 0, "{folder} is empty");
}
