//! New pods and claims keep to the ranges of limits of their namespace.

use api::{
    Kind, Resource, decode, encode,
    kinds::{
        LimitRange, Pod,
        limit_range::{claim_faults, fill_containers, pod_faults},
    },
};
use serde_json::Value;

use super::strategy::Objects;
use crate::{
    api_error::{ApiError, Result},
    object,
};

/// Gives a new pod the defaults of each range, and refuses one that is outside of any.
pub(super) async fn fit_pod(objects: &dyn Objects, kind: &Kind, pod: &mut Value) -> Result<()> {
    let ranges = ranges(objects, object::namespace(pod)).await?;
    if ranges.is_empty() {
        return Ok(());
    }
    let mut filled: Pod = decoded(pod.clone())?;
    if ranges.iter().fold(false, |any, range| fill_containers(&mut filled, range) | any) {
        let name = object::name(pod);
        // A default may not fit what the pod itself says.
        let admitted = kind.admit(encode(&filled), None).map_err(|errors| ApiError::invalid(kind, name, &errors))?;
        *pod = admitted.object;
        filled = decoded(pod.clone())?;
    }
    ranges.iter().try_for_each(|range| refuse(kind, object::name(pod), pod_faults(&filled, range)))
}

/// Refuses a new claim that is outside of a range.
pub(super) async fn fit_claim(objects: &dyn Objects, kind: &Kind, claim: &Value) -> Result<()> {
    let ranges = ranges(objects, object::namespace(claim)).await?;
    if ranges.is_empty() {
        return Ok(());
    }
    let decoded = decoded(claim.clone())?;
    ranges.iter().try_for_each(|range| refuse(kind, object::name(claim), claim_faults(&decoded, range)))
}

async fn ranges(objects: &dyn Objects, namespace: &str) -> Result<Vec<LimitRange>> {
    objects.list(LimitRange::PLURAL, namespace).await?.into_iter().map(decoded).collect()
}

fn decoded<R: Resource>(object: Value) -> Result<R> {
    decode(object).map_err(|error| ApiError::internal("a stored object cannot be read", error))
}

/// Refuses with all faults, each once, as Kubernetes writes them.
fn refuse(kind: &Kind, name: &str, faults: Vec<String>) -> Result<()> {
    let mut distinct: Vec<String> = Vec::new();
    for fault in faults {
        if !distinct.contains(&fault) {
            distinct.push(fault);
        }
    }
    let why = match distinct.as_slice() {
        [] => return Ok(()),
        [one] => one.clone(),
        several => format!("[{}]", several.join(", ")),
    };
    Err(ApiError::not_admitted(kind, name, &why)
        .remedy("ask for what the LimitRange of the namespace allows: kubectl describe limitranges"))
}
