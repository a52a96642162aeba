//! New inputs for the property `http1_requests`; what it is stands in `leno_tests::properties`.
#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| leno_tests::properties::run("http1_requests", input));
