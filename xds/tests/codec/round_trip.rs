//! What is encoded decodes to the same value, over bytes and over YAML.

use std::sync::Arc;

use leno_xds::codec;
use leno_xds::resource::{Kind, Resource};
use proptest::prelude::{ProptestConfig, prop_assert_eq, proptest};
use proptest::test_runner::TestCaseError;

use crate::strategies;

fn check(resource: Resource) -> Result<(), TestCaseError> {
    let (type_url, bytes) = codec::encode(&resource);
    let decoded = codec::decode(resource.kind(), type_url, &bytes);
    prop_assert_eq!(decoded.as_ref(), Ok(&resource));
    prop_assert_eq!(
        codec::name(resource.kind(), &bytes),
        Some(resource.name().to_owned())
    );
    let yaml = codec::to_yaml(&resource);
    let again = yaml.and_then(|yaml| codec::from_yaml(resource.kind(), &yaml));
    prop_assert_eq!(again, Ok(resource));
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    #[test]
    fn listeners(value in strategies::listener()) {
        check(Resource::Listener(Arc::new(value)))?;
    }

    #[test]
    fn route_configurations(value in strategies::route_configuration()) {
        check(Resource::RouteConfiguration(Arc::new(value)))?;
    }

    #[test]
    fn clusters(value in strategies::cluster()) {
        check(Resource::Cluster(Arc::new(value)))?;
    }

    #[test]
    fn load_assignments(value in strategies::load_assignment()) {
        check(Resource::LoadAssignment(Arc::new(value)))?;
    }

    #[test]
    fn filters(value in strategies::filter_config()) {
        check(Resource::Filter { name: "filter".to_owned(), config: Arc::new(value) })?;
    }

    #[test]
    fn damaged_bytes_are_refused_or_read_but_never_panic(
        value in strategies::listener(),
        damage in proptest::collection::vec(proptest::prelude::any::<(proptest::sample::Index, u8)>(), 1..8),
        cut in proptest::prelude::any::<proptest::sample::Index>(),
    ) {
        let resource = Resource::Listener(Arc::new(value));
        let (type_url, bytes) = codec::encode(&resource);
        let mut bytes = bytes.to_vec();
        for (index, byte) in damage {
            let at = index.index(bytes.len());
            bytes[at] ^= byte;
        }
        // What is still valid is a value of the model, which encodes.
        if let Ok(read) = codec::decode(resource.kind(), type_url, &bytes) {
            codec::encode(&read);
        }
        bytes.truncate(cut.index(bytes.len()));
        codec::decode(resource.kind(), type_url, &bytes).ok();
    }

    #[test]
    fn any_text_is_refused_or_read_but_never_panics(text in "[-a-z:{}\\[\\], \"&*<>|\n\t@0-9]{0,64}") {
        for kind in Kind::ALL {
            codec::from_yaml(kind, &text).ok();
        }
    }
}
