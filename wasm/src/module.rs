//! A compiled module, and everything that can be wrong with one.

use std::sync::Arc;

use sha2::{Digest, Sha256};

use crate::engine::Engine;
use crate::inspect::{Abi, Import, Inspection, inspect};

/// Native code of a module for one [`Engine`], shared by all workers. Cheap to clone.
#[derive(Clone)]
pub struct Module {
    inner: Arc<Inner>,
}

struct Inner {
    digest: [u8; 32],
    inspection: Inspection,
    code: Code,
}

pub(crate) enum Code {
    ProxyWasm(crate::proxy_wasm::Code),
    Component(crate::component::Code),
}

/// Why a module is refused. The texts say what to do.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ModuleError {
    /// The file is something else.
    #[error("not a WebAssembly module: it looks like {looks_like}")]
    NotWasm {
        /// In words.
        looks_like: String,
    },
    /// The file ends early.
    #[error("the module is cut off after {size} bytes: fetch or build it again")]
    Truncated {
        /// Of the file.
        size: usize,
    },
    /// The file is too large to be looked at.
    #[error("the module has {size} bytes, and at most {limit} are taken")]
    TooLarge {
        /// Of the file.
        size: usize,
        /// The most.
        limit: usize,
    },
    /// The bytes are no valid WebAssembly.
    #[error("the module is not valid: {reason}")]
    Malformed {
        /// With the place.
        reason: String,
    },
    /// It needs something of WebAssembly that is not offered.
    #[error("the module needs what this engine does not offer: {reason}")]
    Unsupported {
        /// What.
        reason: String,
    },
    /// It needs more memory than a guest may have.
    #[error(
        "the module starts with {needed} bytes of memory, and a guest may have {limit}: raise the memory limit"
    )]
    Memory {
        /// At its start.
        needed: u64,
        /// The most.
        limit: usize,
    },
    /// A core module without a sign of Proxy-Wasm.
    #[error(
        "not a filter: no export says which ABI it is for (`proxy_abi_version_0_2_1` or another); {}. \
         Build filters with `leno build`, or a Proxy-Wasm SDK for `wasm32-wasip1`",
        exported(.exports)
    )]
    NoAbi {
        /// Functions that it does export.
        exports: Vec<String>,
    },
    /// A Proxy-Wasm module of a version that is not known.
    #[error("unknown ABI `{marker}`: known are proxy_abi_version_0_1_0, 0_2_0 and 0_2_1")]
    UnknownAbi {
        /// The export that says so.
        marker: String,
    },
    /// It asks for functions or interfaces that no host here has.
    #[error("the module asks for what no filter host offers: {}{}", listed(.imports), wasi_hint(.imports))]
    UnknownImports {
        /// All of them.
        imports: Vec<Import>,
    },
    /// A component, but not of the filter world.
    #[error(
        "not a filter: the component does not export `{}`; {}. Build filters with `leno build`",
        crate::inspect::COMPONENT_EXPORT,
        exported(.exports)
    )]
    NotAFilter {
        /// What it does export.
        exports: Vec<String>,
    },
    /// The compiler or the linker refused it.
    #[error("the module cannot be compiled: {reason}")]
    Compile {
        /// From the engine.
        reason: String,
    },
}

impl Module {
    pub(crate) fn compile(engine: &Engine, bytes: &[u8]) -> Result<Self, ModuleError> {
        let inspection = inspect(bytes)?;
        let limit = engine.limits().memory;
        if let Some((needed, _)) = inspection.memory
            && needed > limit as u64
        {
            return Err(ModuleError::Memory { needed, limit });
        }
        let refused = |error: wasmtime::Error| ModuleError::Compile {
            reason: format!("{error:#}"),
        };
        let code = match inspection.abi {
            Abi::ProxyWasm(version) => {
                Code::ProxyWasm(crate::proxy_wasm::Code::compile(engine, version, bytes).map_err(refused)?)
            }
            Abi::Component => {
                Code::Component(crate::component::Code::compile(engine, bytes).map_err(refused)?)
            }
        };
        let digest = Sha256::digest(bytes).into();
        Ok(Self {
            inner: Arc::new(Inner {
                digest,
                inspection,
                code,
            }),
        })
    }

    /// SHA-256 of the file.
    #[must_use]
    pub fn digest(&self) -> [u8; 32] {
        self.inner.digest
    }

    /// What it was built for.
    #[must_use]
    pub fn abi(&self) -> Abi {
        self.inner.inspection.abi
    }

    /// What was read before compiling: imports, exports, size.
    #[must_use]
    pub fn inspection(&self) -> &Inspection {
        &self.inner.inspection
    }

    pub(crate) fn code(&self) -> &Code {
        &self.inner.code
    }
}

impl std::fmt::Debug for Module {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.debug_struct("Module")
            .field("abi", &self.abi())
            .finish_non_exhaustive()
    }
}

fn exported(exports: &[String]) -> String {
    const SHOWN: usize = 8;
    match exports.len() {
        0 => "it exports nothing".to_owned(),
        count if count > SHOWN => {
            format!(
                "it exports {} and {} more",
                exports[..SHOWN].join(", "),
                count - SHOWN
            )
        }
        _ => format!("it exports {}", exports.join(", ")),
    }
}

fn listed(imports: &[Import]) -> String {
    imports
        .iter()
        .map(ToString::to_string)
        .collect::<Vec<_>>()
        .join(", ")
}

fn wasi_hint(imports: &[Import]) -> &'static str {
    if imports.iter().any(|import| import.name.starts_with("wasi:")) {
        ". A component that was built for wasm32-wasip2 asks for WASI: build it with `leno build`, \
         which makes components that ask for nothing but leno:filter"
    } else {
        ""
    }
}
