//! Which requests need what, and what becomes of them.

use leno_sdk::matching::Matcher;
use leno_sdk::{ConfigError, Handle};

use crate::config::{Config, Require, Rule, Unmatched};
use crate::denial::{Challenge, Denial};
use crate::provider::{Outcome, Provider};
use crate::remote::Remote;
use crate::request_headers;
use crate::secret::Accepted;

pub(crate) struct Policy {
    providers: Vec<Provider>,
    rules: Vec<(Matcher, Needs)>,
    unmatched: Unmatched,
}

/// [`Require`] with names resolved.
enum Needs {
    Nothing,
    Any(Vec<usize>),
    All(Vec<usize>),
    AnyOrMissing(Vec<usize>),
}

/// What becomes of a request.
pub(crate) enum Decision {
    Allow(Vec<Accepted>),
    /// With further schemes that the client could have used.
    Deny(Denial, Vec<Challenge>),
    /// Until keys arrive.
    Wait,
}

impl Policy {
    pub(crate) fn new(config: Config) -> Result<Self, ConfigError> {
        let mut providers: Vec<Provider> = Vec::new();
        for (index, provider) in config.providers.into_iter().enumerate() {
            let path = format!("providers[{index}]");
            let provider = Provider::new(provider).map_err(|error| error.within(&path))?;
            if providers.iter().any(|other| other.name == provider.name) {
                let reason = format!("{:?} is the name of another provider", provider.name);
                return Err(ConfigError::new(format!("{path}.name"), reason));
            }
            providers.push(provider);
        }
        let mut rules = Vec::new();
        for (index, Rule { matches, require }) in config.rules.into_iter().enumerate() {
            let within = |error: ConfigError| error.within(format!("rules[{index}]"));
            let matcher = matches.compile().map_err(|error| within(error.within("match")))?;
            rules.push((
                matcher,
                needs(require, &providers).map_err(|error| within(error.within("require")))?,
            ));
        }
        if rules.is_empty() && config.unmatched == Unmatched::Deny {
            let reason = "must not be empty, since then nobody gets in; `unmatched: allow` lets everybody in";
            return Err(ConfigError::new("rules", reason));
        }
        Ok(Self {
            providers,
            rules,
            unmatched: config.unmatched,
        })
    }

    pub(crate) fn remotes(&self) -> impl Iterator<Item = &Remote> {
        self.providers.iter().filter_map(Provider::remote)
    }

    /// Headers that only this filter may set.
    pub(crate) fn outputs(&self) -> impl Iterator<Item = &str> {
        self.providers.iter().flat_map(Provider::outputs)
    }

    pub(crate) fn decide(&self, handle: &Handle) -> Decision {
        let headers = request_headers(handle);
        let rule = self.rules.iter().find(|(matcher, _)| matcher.matches(&headers));
        match (rule, self.unmatched) {
            (Some((_, needs)), _) => self.satisfy(needs, handle),
            (None, Unmatched::Allow) => Decision::Allow(Vec::new()),
            (None, Unmatched::Deny) => Decision::Deny(Denial::no_rule(), Vec::new()),
        }
    }

    fn satisfy(&self, needs: &Needs, handle: &Handle) -> Decision {
        match needs {
            Needs::Nothing => Decision::Allow(Vec::new()),
            Needs::All(all) => {
                let mut accepted = Vec::new();
                for index in all {
                    match self.providers[*index].check(handle) {
                        Outcome::Accepted(one) => accepted.push(one),
                        Outcome::Denied(denial) => return Decision::Deny(denial, Vec::new()),
                        Outcome::Wait => return Decision::Wait,
                    }
                }
                Decision::Allow(accepted)
            }
            Needs::Any(any) => self.any(any, handle),
            Needs::AnyOrMissing(any) => match self.any(any, handle) {
                // Only if no provider has found anything: a wrong credential does not get in.
                Decision::Deny(denial, _) if denial.is_missing => Decision::Allow(Vec::new()),
                other => other,
            },
        }
    }

    fn any(&self, any: &[usize], handle: &Handle) -> Decision {
        let mut denials: Vec<Denial> = Vec::new();
        let mut waits = false;
        for index in any {
            match self.providers[*index].check(handle) {
                Outcome::Accepted(one) => return Decision::Allow(vec![one]),
                Outcome::Denied(denial) => denials.push(denial),
                Outcome::Wait => waits = true,
            }
        }
        if waits {
            return Decision::Wait;
        }
        // A wrong credential says more than a missing one.
        let told = denials
            .iter()
            .position(|denial| !denial.is_missing)
            .unwrap_or_default();
        let challenges = any
            .iter()
            .map(|index| self.providers[*index].challenge())
            .collect();
        // A rule names at least one provider, each of which has refused.
        let denial = denials.into_iter().nth(told).unwrap_or_else(Denial::no_rule);
        Decision::Deny(denial, challenges)
    }
}

fn needs(require: Require, providers: &[Provider]) -> Result<Needs, ConfigError> {
    let resolve = |path: &str, names: Vec<String>| {
        if names.is_empty() {
            return Err(ConfigError::new(path, "must not be empty"));
        }
        let each = names.iter().enumerate().map(|(index, name)| {
            let found = providers.iter().position(|provider| provider.name == *name);
            found.ok_or_else(|| {
                ConfigError::new(
                    format!("{path}[{index}]"),
                    format!("there is no provider {name:?}"),
                )
            })
        });
        each.collect::<Result<Vec<usize>, _>>()
    };
    Ok(match require {
        Require::None => Needs::Nothing,
        Require::AnyOf(names) => Needs::Any(resolve("anyOf", names)?),
        Require::AllOf(names) => Needs::All(resolve("allOf", names)?),
        Require::AllowMissing(names) => Needs::AnyOrMissing(resolve("allowMissing", names)?),
    })
}

/// Makes the request say who it comes from, and no more how that was told.
pub(crate) fn apply(handle: &Handle, accepted: &[Accepted]) {
    let headers = request_headers(handle);
    for one in accepted {
        if let Some(place) = &one.remove {
            place.remove(handle);
        }
    }
    for (name, value) in accepted.iter().flat_map(|one| &one.headers) {
        headers.set(name, value);
    }
}
