//! What a module is, read without compiling it: ABI, imports, exports, memory, who made it.
//!
//! Used by the engine before it compiles, and by tools that only look. Everything that can be refused without an
//! engine is refused here, so that a tool and a proxy say the same.

use wasmparser::{
    Encoding, ExternalKind, Parser, Payload, ProducersSectionReader, TypeRef, Validator, WasmFeatures,
};

use crate::module::ModuleError;

/// What a module was built for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Abi {
    /// A core module with callbacks by name.
    ProxyWasm(ProxyWasmVersion),
    /// A component of the world `leno:filter/filter@0.1.0`.
    Component,
}

/// The versions of Proxy-Wasm. They differ in little, see the specification's change log.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum ProxyWasmVersion {
    /// 0.1.0
    V0_1_0,
    /// 0.2.0
    V0_2_0,
    /// 0.2.1
    V0_2_1,
}

impl std::fmt::Display for Abi {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.write_str(match self {
            Self::ProxyWasm(ProxyWasmVersion::V0_1_0) => "proxy-wasm 0.1.0",
            Self::ProxyWasm(ProxyWasmVersion::V0_2_0) => "proxy-wasm 0.2.0",
            Self::ProxyWasm(ProxyWasmVersion::V0_2_1) => "proxy-wasm 0.2.1",
            Self::Component => "component leno:filter@0.1.0",
        })
    }
}

/// Something that a module asks its host for.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Import {
    /// `env` or a WASI version; empty for a component.
    pub module: String,
    /// A function, or for a component an interface.
    pub name: String,
}

impl std::fmt::Display for Import {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if self.module.is_empty() {
            return out.write_str(&self.name);
        }
        write!(out, "{}.{}", self.module, self.name)
    }
}

/// What [`inspect`] found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Inspection {
    /// What it was built for.
    pub abi: Abi,
    /// Of the file, in bytes.
    pub size: usize,
    /// What it asks the host for: its capabilities.
    pub imports: Vec<Import>,
    /// Functions (of a component: interfaces) that it offers: its callbacks.
    pub exports: Vec<String>,
    /// Bytes of linear memory at the start, and at most when it says so itself. `None` for a component.
    pub memory: Option<(u64, Option<u64>)>,
    /// Elements of its largest table at the start.
    pub table_elements: u64,
    /// Names of custom sections, in order, each once.
    pub custom_sections: Vec<String>,
    /// Compilers and libraries that it names in its `producers` section, as `field: name version`.
    pub producers: Vec<String>,
}

/// The largest file that is looked at.
pub(crate) const MAX_SIZE: usize = 64 << 20;

/// The interface that a component must export.
pub(crate) const COMPONENT_EXPORT: &str = "leno:filter/plugin@0.1.0";

/// Reads and validates a module, and refuses what no host of ours could run.
///
/// # Errors
/// See [`ModuleError`]; all but `Compile` come from here.
pub fn inspect(bytes: &[u8]) -> Result<Inspection, ModuleError> {
    if bytes.len() > MAX_SIZE {
        return Err(ModuleError::TooLarge {
            size: bytes.len(),
            limit: MAX_SIZE,
        });
    }
    if !bytes.starts_with(b"\0asm") {
        return Err(ModuleError::NotWasm {
            looks_like: looks_like(bytes),
        });
    }
    let found = read(bytes).map_err(|error| refusal(&error, bytes.len()))?;
    Validator::new_with_features(features())
        .validate_all(bytes)
        .map_err(|error| refusal(&error, bytes.len()))?;
    let abi = if found.component {
        component_abi(&found)?
    } else {
        proxy_wasm_abi(&found)?
    };
    let mut custom_sections = found.custom_sections;
    let mut seen = std::collections::HashSet::new();
    custom_sections.retain(|name| seen.insert(name.clone()));
    Ok(Inspection {
        abi,
        size: bytes.len(),
        imports: found.imports,
        exports: found.exports,
        memory: found.memory,
        table_elements: found.table_elements,
        custom_sections,
        producers: found.producers,
    })
}

#[derive(Default)]
struct Found {
    component: bool,
    imports: Vec<Import>,
    exports: Vec<String>,
    memory: Option<(u64, Option<u64>)>,
    table_elements: u64,
    custom_sections: Vec<String>,
    producers: Vec<String>,
}

/// Reads the outermost module or component; modules nested in a component are skipped over.
fn read(bytes: &[u8]) -> wasmparser::Result<Found> {
    const PAGE: u64 = 64 << 10;
    let mut found = Found::default();
    let mut depth = 0;
    for payload in Parser::new(0).parse_all(bytes) {
        match payload? {
            Payload::Version { encoding, .. } => {
                depth += 1;
                found.component |= depth == 1 && encoding == Encoding::Component;
            }
            Payload::End(_) => depth -= 1,
            _ if depth > 1 => {}
            Payload::ImportSection(section) => {
                for import in section.into_imports() {
                    let import = import?;
                    if let TypeRef::Memory(memory) = import.ty {
                        found.memory =
                            Some((memory.initial * PAGE, memory.maximum.map(|pages| pages * PAGE)));
                    }
                    found.imports.push(Import {
                        module: import.module.into(),
                        name: import.name.into(),
                    });
                }
            }
            Payload::ExportSection(section) => {
                for export in section {
                    let export = export?;
                    if export.kind == ExternalKind::Func {
                        found.exports.push(export.name.into());
                    }
                }
            }
            Payload::MemorySection(section) => {
                for memory in section {
                    let memory = memory?;
                    found.memory = Some((memory.initial * PAGE, memory.maximum.map(|pages| pages * PAGE)));
                }
            }
            Payload::TableSection(section) => {
                for table in section {
                    found.table_elements = found.table_elements.max(table?.ty.initial);
                }
            }
            Payload::ComponentImportSection(section) => {
                for import in section {
                    found.imports.push(Import {
                        module: String::new(),
                        name: import?.name.name.into(),
                    });
                }
            }
            Payload::ComponentExportSection(section) => {
                for export in section {
                    found.exports.push(export?.name.name.into());
                }
            }
            Payload::CustomSection(section) => {
                found.custom_sections.push(section.name().into());
                if let wasmparser::KnownCustom::Producers(producers) = section.as_known() {
                    read_producers(producers, &mut found.producers);
                }
            }
            _ => {}
        }
    }
    Ok(found)
}

/// A broken custom section changes nothing about a module, so it is left out rather than refused.
fn read_producers(section: ProducersSectionReader<'_>, producers: &mut Vec<String>) {
    for field in section.into_iter().flatten() {
        for value in field.values.into_iter().flatten() {
            producers.push(
                format!("{}: {} {}", field.name, value.name, value.version)
                    .trim_end()
                    .to_owned(),
            );
        }
    }
}

fn proxy_wasm_abi(found: &Found) -> Result<Abi, ModuleError> {
    let markers = found
        .exports
        .iter()
        .filter(|name| name.starts_with("proxy_abi_version_"));
    let mut unknown = None;
    let mut version = None;
    for marker in markers {
        version = version.or(match marker.as_str() {
            "proxy_abi_version_0_1_0" => Some(ProxyWasmVersion::V0_1_0),
            "proxy_abi_version_0_2_0" => Some(ProxyWasmVersion::V0_2_0),
            "proxy_abi_version_0_2_1" => Some(ProxyWasmVersion::V0_2_1),
            other => {
                unknown = Some(other.to_owned());
                None
            }
        });
    }
    let Some(version) = version else {
        return Err(match unknown {
            Some(marker) => ModuleError::UnknownAbi { marker },
            None => ModuleError::NoAbi {
                exports: found.exports.clone(),
            },
        });
    };
    let missing: Vec<_> = found
        .imports
        .iter()
        .filter(|import| !crate::proxy_wasm::offers(&import.module, &import.name))
        .cloned()
        .collect();
    if !missing.is_empty() {
        return Err(ModuleError::UnknownImports { imports: missing });
    }
    if found.table_elements > crate::proxy_wasm::MAX_TABLE_ELEMENTS as u64 {
        return Err(ModuleError::Unsupported {
            reason: format!(
                "a table of {} elements, and at most {} fit",
                found.table_elements,
                crate::proxy_wasm::MAX_TABLE_ELEMENTS
            ),
        });
    }
    Ok(Abi::ProxyWasm(version))
}

fn component_abi(found: &Found) -> Result<Abi, ModuleError> {
    if !found.exports.iter().any(|name| name == COMPONENT_EXPORT) {
        return Err(ModuleError::NotAFilter {
            exports: found.exports.clone(),
        });
    }
    let missing: Vec<_> = found
        .imports
        .iter()
        .filter(|import| !crate::component::offers(&import.name))
        .cloned()
        .collect();
    if !missing.is_empty() {
        return Err(ModuleError::UnknownImports { imports: missing });
    }
    Ok(Abi::Component)
}

/// What the engine's configuration takes, too: proposals that need a collector, threads or wide memories are out.
fn features() -> WasmFeatures {
    let mut features = WasmFeatures::default();
    features.remove(
        WasmFeatures::THREADS
            | WasmFeatures::MEMORY64
            | WasmFeatures::GC
            | WasmFeatures::EXCEPTIONS
            | WasmFeatures::FUNCTION_REFERENCES
            | WasmFeatures::MULTI_MEMORY
            | WasmFeatures::CM_ASYNC,
    );
    features
}

fn refusal(error: &wasmparser::BinaryReaderError, size: usize) -> ModuleError {
    let message = error.message();
    if message.contains("unexpected end-of-file") {
        return ModuleError::Truncated { size };
    }
    let reason = format!("{message} (at byte {:#x})", error.offset());
    let proposal = [
        "not enabled",
        "must be enabled",
        "requires the",
        "is not supported",
        "proposal",
    ];
    if proposal.iter().any(|mark| message.contains(mark)) {
        return ModuleError::Unsupported { reason };
    }
    ModuleError::Malformed { reason }
}

/// What somebody who gave the wrong file would recognise it by.
fn looks_like(bytes: &[u8]) -> String {
    let start = &bytes[..bytes.len().min(64)];
    let text = String::from_utf8_lossy(start);
    let trimmed = text.trim_start().to_ascii_lowercase();
    let known: &str = match start {
        [] => "an empty file",
        [0x1f, 0x8b, ..] => "gzip data: unpack it first, or name it with its layer's media type",
        [0x7f, b'E', b'L', b'F', ..] => "an ELF program: native code, perhaps a `.cwasm`, is never taken",
        [b'P', b'K', 3, 4, ..] => "a zip archive",
        [0x28, 0xb5, 0x2f, 0xfd, ..] => "zstd data: unpack it first",
        [b'(', b'm' | b'c', ..] => "WebAssembly text: translate it with `wat2wasm`",
        _ if bytes.get(257..262) == Some(b"ustar") => "a tar archive",
        _ if trimmed.starts_with("<!doctype html") || trimmed.starts_with("<html") => {
            "an HTML page: the address leads to a web site, or to its log-in page"
        }
        _ if trimmed.starts_with('{') => "JSON: perhaps a manifest or an error message of a registry",
        _ if trimmed.starts_with('<') => "XML or HTML",
        _ => "",
    };
    if !known.is_empty() {
        return known.to_owned();
    }
    if start
        .iter()
        .all(|byte| byte.is_ascii_graphic() || byte.is_ascii_whitespace())
    {
        return format!("text: {:?}", text.lines().next().unwrap_or_default());
    }
    format!(
        "unknown data that begins with {:02x?}",
        &start[..start.len().min(8)]
    )
}
