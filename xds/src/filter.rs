//! HTTP filters: entries of `http_filters`, `TypedExtensionConfig` (ECDS), and the filters themselves.

use std::collections::BTreeMap;
use std::sync::Arc;

use leno_model::filter::{DiscoveredFilter, FilterConfig, FilterSource, HttpFilter, Router};
use leno_model::invalid::Invalid;
use leno_model::route::FilterOverride;

use crate::descriptors::{self, pack, unpack};
use crate::pb::hcm::http_filter::ConfigType;
use crate::pb::{core, hcm, protobuf, route, router, wasm_filter};
use crate::strict::Fields;
use crate::wasm_plugin;
use crate::wire::{self, Within, required, required_text};

/// What is read of the messages below.
pub(crate) const FIELDS: &[Fields] = &[
    Fields {
        message: "envoy.extensions.filters.network.http_connection_manager.v3.HttpFilter",
        supported: &["name", "typed_config", "config_discovery", "disabled"],
        no_effect: &[(
            "is_optional",
            "a filter that is not known is refused in any case, never left out",
        )],
    },
    Fields {
        message: "envoy.config.core.v3.TypedExtensionConfig",
        supported: &["name", "typed_config"],
        no_effect: &[],
    },
    Fields {
        message: "envoy.config.core.v3.ExtensionConfigSource",
        supported: &[
            "config_source",
            "default_config",
            "apply_default_config_without_warming",
            "type_urls",
        ],
        no_effect: &[],
    },
    Fields {
        message: "envoy.config.route.v3.FilterConfig",
        supported: &["config", "disabled"],
        no_effect: &[(
            "is_optional",
            "a filter that is not known is refused in any case, never left out",
        )],
    },
    Fields {
        message: "envoy.extensions.filters.http.router.v3.Router",
        supported: &["suppress_envoy_headers"],
        no_effect: &[(
            "dynamic_stats",
            "the statistics it switches are not kept per filter",
        )],
    },
    Fields {
        message: "envoy.extensions.filters.http.wasm.v3.Wasm",
        supported: &["config"],
        no_effect: &[],
    },
];

/// One entry of `http_filters`.
pub(crate) fn decode_entry(entry: &hcm::HttpFilter) -> Result<HttpFilter, Invalid> {
    let name = required_text("name", &entry.name)?.to_owned();
    let source = match &entry.config_type {
        None => {
            return Err(Invalid::new(
                "",
                "one of `typed_config` and `config_discovery` is required",
            ));
        }
        Some(ConfigType::TypedConfig(any)) => {
            FilterSource::Inline(Arc::new(decode_config(any).within("typed_config")?))
        }
        Some(ConfigType::ConfigDiscovery(source)) => {
            FilterSource::Discovered(decode_discovery(source).within("config_discovery")?)
        }
    };
    Ok(HttpFilter {
        name,
        source,
        disabled: entry.disabled,
    })
}

/// The other way.
pub(crate) fn encode_entry(filter: &HttpFilter) -> hcm::HttpFilter {
    let config_type = match &filter.source {
        FilterSource::Inline(config) => ConfigType::TypedConfig(encode_config(config)),
        FilterSource::Discovered(source) => ConfigType::ConfigDiscovery(core::ExtensionConfigSource {
            config_source: Some(wire::to_ads()),
            default_config: source.default.as_deref().map(encode_config),
            apply_default_config_without_warming: source.apply_default_without_warming,
            type_urls: source.type_urls.clone(),
        }),
    };
    hcm::HttpFilter {
        name: filter.name.clone(),
        is_optional: false,
        disabled: filter.disabled,
        config_type: Some(config_type),
    }
}

fn decode_discovery(source: &core::ExtensionConfigSource) -> Result<DiscoveredFilter, Invalid> {
    wire::ads(source.config_source.as_ref()).within("config_source")?;
    if source.type_urls.is_empty() {
        return Err(Invalid::new("type_urls", "at least one is required"));
    }
    let default = source.default_config.as_ref().map(decode_config);
    let default = default.transpose().within("default_config")?.map(Arc::new);
    if source.apply_default_config_without_warming && default.is_none() {
        return Err(Invalid::new(
            "default_config",
            "is required by `apply_default_config_without_warming`",
        ));
    }
    Ok(DiscoveredFilter {
        default,
        apply_default_without_warming: source.apply_default_config_without_warming,
        type_urls: source.type_urls.clone(),
    })
}

/// An ECDS resource: a filter's name and what it is.
pub(crate) fn decode_extension(
    extension: &core::TypedExtensionConfig,
) -> Result<(String, FilterConfig), Invalid> {
    let name = required_text("name", &extension.name)?.to_owned();
    let any = required("typed_config", extension.typed_config.as_ref())?;
    Ok((name, decode_config(any).within("typed_config")?))
}

/// The other way.
pub(crate) fn encode_extension(name: &str, config: &FilterConfig) -> core::TypedExtensionConfig {
    core::TypedExtensionConfig {
        name: name.to_owned(),
        typed_config: Some(encode_config(config)),
    }
}

/// One entry of `typed_per_filter_config`.
pub(crate) fn decode_override(any: &protobuf::Any) -> Result<FilterOverride, Invalid> {
    let Some(wrapper) = unpack::<route::FilterConfig>(any)? else {
        return decode_config(any).map(|config| FilterOverride::Config(Box::new(config)));
    };
    match (&wrapper.config, wrapper.disabled) {
        (None, true) => Ok(FilterOverride::Disabled),
        (Some(config), false) => decode_config(config)
            .map(|config| FilterOverride::Config(Box::new(config)))
            .within("config"),
        (Some(_), true) => Err(Invalid::new("disabled", "a disabled filter takes no `config`")),
        (None, false) => Err(Invalid::new(
            "",
            "one of `config` and `disabled: true` is required",
        )),
    }
}

/// The other way.
pub(crate) fn encode_override(value: &FilterOverride) -> protobuf::Any {
    match value {
        FilterOverride::Disabled => pack(&route::FilterConfig {
            disabled: true,
            ..Default::default()
        }),
        FilterOverride::Config(config) => encode_config(config),
    }
}

/// All entries of `typed_per_filter_config`, in the order of their names.
pub(crate) fn decode_overrides<'a>(
    entries: impl IntoIterator<Item = (&'a String, &'a protobuf::Any)>,
) -> Result<BTreeMap<String, FilterOverride>, Invalid> {
    let entries: BTreeMap<_, _> = entries.into_iter().collect();
    let decoded = entries.into_iter().map(|(name, any)| {
        let value = decode_override(any).within(&format!("typed_per_filter_config[\"{name}\"]"))?;
        Ok((name.clone(), value))
    });
    decoded.collect()
}

/// A filter's own message.
pub(crate) fn decode_config(any: &protobuf::Any) -> Result<FilterConfig, Invalid> {
    if let Some(router) = unpack::<router::Router>(any)? {
        return Ok(FilterConfig::Router(Router {
            suppress_envoy_headers: router.suppress_envoy_headers,
        }));
    }
    if let Some(filter) = unpack::<wasm_filter::Wasm>(any)? {
        let plugin = required("config", filter.config.as_ref())?;
        return wasm_plugin::decode(plugin)
            .map(|wasm| FilterConfig::Wasm(Box::new(wasm)))
            .within("config");
    }
    let name = descriptors::name_in_url(&any.type_url)?;
    Err(Invalid::new(
        "",
        format!("type `{name}` is not supported by this version as an HTTP filter"),
    ))
}

/// The other way.
pub(crate) fn encode_config(config: &FilterConfig) -> protobuf::Any {
    match config {
        FilterConfig::Router(router) => pack(&router::Router {
            suppress_envoy_headers: router.suppress_envoy_headers,
            ..Default::default()
        }),
        FilterConfig::Wasm(filter) => pack(&wasm_filter::Wasm {
            config: Some(wasm_plugin::encode(filter)),
        }),
    }
}
