//! Which DestinationRules a host has: those of one namespace for one host are one rule in parts.

use std::cmp::Reverse;
use std::collections::BTreeSet;
use std::sync::Arc;

use super::Note;
use super::scope::{View, full_host, host_matches, is_exported};
use crate::api::destination_rule::DestinationRule;
use crate::world::{Object, World};

type Rule = Arc<Object<DestinationRule>>;

/// The policies of `host`, which is of namespace `home`. Istio's order: the caller's namespace, the service's, then any
/// that exports it; within a namespace the host itself, then the longest pattern. Rules for the same host are merged,
/// oldest first.
pub(super) fn policies(
    world: &World,
    view: &View,
    host: &str,
    home: &str,
    notes: &mut BTreeSet<Note>,
) -> Option<Rule> {
    let rank = |rule: &Rule| {
        let namespace = rule.meta.namespace.as_str();
        let pattern = full_host(&rule.spec.host, namespace);
        (
            usize::from(namespace != view.namespace)
                + usize::from(![&view.namespace, home].contains(&namespace)),
            pattern != host,
            Reverse(pattern.len()),
            namespace.to_owned(),
        )
    };
    let mut found: Vec<(_, &Rule)> = world
        .destination_rules
        .values()
        .filter(|rule| host_matches(&full_host(&rule.spec.host, &rule.meta.namespace), host))
        .filter(|rule| is_exported(&rule.spec.export_to, &rule.meta.namespace, &view.namespace))
        .map(|rule| (rank(rule), rule))
        .collect();
    let first = found.iter().map(|(rank, _)| rank).min()?.clone();
    found.retain(|(rank, _)| *rank == first);
    found.sort_by_key(|(_, rule)| (rule.meta.creation_timestamp.clone(), rule.meta.name.clone()));
    let (first, others) = found.split_first()?;
    if others.is_empty() {
        return Some(Arc::clone(first.1));
    }
    let mut merged = Object::clone(first.1);
    for (_, rule) in others {
        merge(&mut merged, rule, notes);
    }
    Some(Arc::new(merged))
}

/// Subsets are joined; the first policy for the whole host stays. As Istio's `mergeDestinationRule` has it.
fn merge(merged: &mut Object<DestinationRule>, rule: &Object<DestinationRule>, notes: &mut BTreeSet<Note>) {
    let mut note = |message: String| {
        notes.insert(Note {
            kind: "DestinationRule",
            key: rule.meta.key(),
            message,
        })
    };
    for (index, subset) in rule.spec.subsets.iter().enumerate() {
        match merged.spec.subsets.iter().find(|other| other.name == subset.name) {
            None => merged.spec.subsets.push(subset.clone()),
            Some(other) if other == subset => {}
            Some(_) => {
                note(format!(
                    "spec.subsets[{index}]: an older rule for {} has a subset {:?}, which is used",
                    rule.spec.host, subset.name
                ));
            }
        }
    }
    match (&merged.spec.traffic_policy, &rule.spec.traffic_policy) {
        (None, Some(policy)) => merged.spec.traffic_policy = Some(policy.clone()),
        (Some(older), Some(policy)) if older != policy => {
            note(format!(
                "spec.trafficPolicy: an older rule for {} has one, which is used",
                rule.spec.host
            ));
        }
        (_, Some(_) | None) => {}
    }
}
