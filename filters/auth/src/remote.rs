//! Keys that are fetched: kept in the shared data, so that one worker's fetch serves all of them.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::time::Duration;

use leno_sdk::{Call, CallId, CallResponse, ConfigError, Context, HostError};

use crate::config::RemoteJwks;
use crate::jwt::Keys;

/// Keys are not asked for more often than this, whatever tokens or failures ask for.
const PATIENCE: Duration = Duration::from_secs(10);
/// The first fetch is tried more often: nobody gets in without it.
const FIRST_PATIENCE: Duration = Duration::from_secs(1);

/// Where the keys of an issuer are, and what is known of them.
pub(crate) struct Remote {
    config: RemoteJwks,
    key: String,
    /// The version of the shared value that `keys` were read from.
    version: Cell<Option<u32>>,
    fetched: Cell<Duration>,
    tried: Cell<Option<Duration>>,
    keys: RefCell<Option<Rc<Keys>>>,
    call: Cell<Option<CallId>>,
}

impl Remote {
    pub(crate) fn new(config: RemoteJwks) -> Result<Self, ConfigError> {
        for (name, value) in [("cluster", &config.cluster), ("host", &config.host)] {
            if value.is_empty() {
                return Err(ConfigError::new(name, "must not be empty"));
            }
        }
        if !config.path.starts_with('/') {
            return Err(ConfigError::new(
                "path",
                format!("{:?} does not begin with /", config.path),
            ));
        }
        for (name, time) in [
            ("cacheDuration", config.cache_duration),
            ("timeout", config.timeout),
        ] {
            if time.0.is_zero() {
                return Err(ConfigError::new(name, "must be more than nothing"));
            }
        }
        Ok(Self {
            key: format!("auth/jwks/{}/{}{}", config.cluster, config.host, config.path),
            config,
            version: Cell::default(),
            fetched: Cell::default(),
            tried: Cell::default(),
            keys: RefCell::default(),
            call: Cell::default(),
        })
    }

    /// The newest keys that any worker has fetched.
    pub(crate) fn keys(&self, context: &Context) -> Option<Rc<Keys>> {
        if let Some((value, version)) = context.shared_get(&self.key)
            && self.version.get() != Some(version)
            && let Some((fetched, text)) = value.split_first_chunk::<8>()
        {
            // Only what could be read is ever shared, so this fails for somebody else's value alone.
            match Keys::parse(text) {
                Ok(keys) => {
                    self.keys.replace(Some(Rc::new(keys)));
                    self.fetched
                        .set(Duration::from_secs(u64::from_le_bytes(*fetched)));
                }
                Err(reason) => context.warn(format_args!("shared value {}: {reason}", self.key)),
            }
            self.version.set(Some(version));
        }
        self.keys.borrow().clone()
    }

    /// Fetches the keys if they are missing or old.
    pub(crate) fn refresh(&self, context: &Context) {
        let missing = self.keys(context).is_none();
        let age = context.now().saturating_sub(self.fetched.get());
        if missing || age >= self.config.cache_duration.0 {
            self.fetch(context);
        }
    }

    /// Fetches the keys, unless that is under way or was tried just now. Whether an answer will come.
    pub(crate) fn fetch(&self, context: &Context) -> bool {
        if self.call.get().is_some() {
            return true;
        }
        let patience = if self.keys.borrow().is_none() {
            FIRST_PATIENCE
        } else {
            PATIENCE
        };
        let now = context.now();
        if self
            .tried
            .get()
            .is_some_and(|tried| now.saturating_sub(tried) < patience)
        {
            return false;
        }
        self.tried.set(Some(now));
        match self.ask(context) {
            Ok(call) => {
                self.call.set(Some(call));
                true
            }
            Err(error) => {
                let RemoteJwks { cluster, .. } = &self.config;
                context.error(format_args!(
                    "Jwks cannot be fetched from cluster {cluster:?}: {error}"
                ));
                false
            }
        }
    }

    fn ask(&self, context: &Context) -> Result<CallId, HostError> {
        let RemoteJwks {
            cluster,
            host,
            path,
            timeout,
            ..
        } = &self.config;
        let fields = [
            (":method", "GET"),
            (":scheme", "http"),
            (":path", path),
            (":authority", host),
        ];
        let headers = fields
            .iter()
            .map(|(name, value)| (name.as_bytes().to_vec(), value.as_bytes().to_vec()));
        context.call(Call {
            cluster: cluster.clone(),
            headers: headers.collect(),
            timeout: timeout.0,
            ..Call::default()
        })
    }

    /// Takes the answer if it is to this fetch. Old keys stay when it is not good.
    pub(crate) fn answer(&self, call: CallId, response: &CallResponse, context: &Context) -> bool {
        if self.call.get() != Some(call) {
            return false;
        }
        self.call.set(None);
        let status = response
            .headers
            .iter()
            .find(|(name, _)| name == b":status")
            .map(|(_, value)| value.as_slice());
        let read = match status {
            Some(b"200") => Keys::parse(&response.body).map(Rc::new),
            Some(status) => Err(format!("status {}", String::from_utf8_lossy(status))),
            None => Err("the answer broke off".to_owned()),
        };
        match read {
            Ok(keys) => {
                let now = context.now();
                let value = [now.as_secs().to_le_bytes().as_slice(), &response.body].concat();
                if let Err(error) = context.shared_set(&self.key, value) {
                    context.warn(format_args!("Jwks cannot be shared with other workers: {error}"));
                }
                self.keys.replace(Some(keys));
                self.fetched.set(now);
                self.version
                    .set(context.shared_get(&self.key).map(|(_, version)| version));
            }
            Err(reason) => {
                let RemoteJwks {
                    cluster, host, path, ..
                } = &self.config;
                context.error(format_args!(
                    "Jwks from {host}{path} in cluster {cluster:?}: {reason}"
                ));
            }
        }
        true
    }
}
