//! Services have addresses: one key for each address in use, written with the service.

use std::net::Ipv4Addr;

use api::{FieldError, Kind, Reason, kinds::service::HEADLESS, meta::DEFAULT_NAMESPACE, names::api_service};
use async_trait::async_trait;
use ipnet::Ipv4Net;
use keyspace::{Compare, KeyspaceExt, Op, Projection, RangeRequest};
use serde_json::{Value, json};

use super::strategy::{Claim, Objects, Strategy};
use crate::{
    api_error::{ApiError, Result},
    object,
};

/// Prefix of the keys of addresses in use.
const PREFIX: &str = "/registry/core/clusterips/";

pub(super) struct Services;

#[async_trait]
impl Strategy for Services {
    /// Gives a new service its address: the one it names, or a free one.
    async fn claim(&self, objects: &dyn Objects, kind: &Kind, service: &mut Value) -> Result<Claim> {
        let asked = object::text(service, "/spec/clusterIP").to_owned();
        if asked == HEADLESS {
            return Ok(Claim::default());
        }
        let address = if asked.is_empty() && is_api(service) {
            api_address(objects.service_cidr())
        } else if asked.is_empty() {
            free_address(objects, service).await?
        } else {
            own_address(objects, kind, service, &asked).await?
        };
        if let Some(spec) = service.get_mut("spec").and_then(Value::as_object_mut) {
            spec.insert("clusterIP".into(), address.to_string().into());
            spec.insert("clusterIPs".into(), json!([address.to_string()]));
        }
        let owner = owner(object::namespace(service), object::name(service));
        let key = format!("{PREFIX}{address}");
        Ok(Claim { compares: vec![Compare::absent(key.clone())], ops: vec![Op::put(key, owner)] })
    }

    fn release(&self, service: &Value) -> Vec<Op> {
        let address = object::text(service, "/spec/clusterIP").parse::<Ipv4Addr>();
        address.into_iter().map(|address| Op::delete(format!("{PREFIX}{address}"))).collect()
    }

    async fn release_lost(&self, objects: &dyn Objects, namespace: Option<&str>, name: &str) -> Result<Vec<Op>> {
        let owner = owner(namespace.unwrap_or_default(), name);
        let taken = objects.keyspace().range(RangeRequest::prefix(PREFIX)).await?;
        let own = taken.kvs.into_iter().filter(|kv| *kv.value == *owner.as_bytes());
        Ok(own.map(|kv| Op::delete(kv.key)).collect())
    }

    /// A service keeps its address when the client does not name it.
    fn keep(&self, document: &mut Value, current: &Value) {
        if !object::text(document, "/spec/clusterIP").is_empty() {
            return;
        }
        let address = current.pointer("/spec/clusterIP").cloned();
        if let (Some(spec), Some(address)) = (document.get_mut("spec").and_then(Value::as_object_mut), address) {
            spec.insert("clusterIP".into(), address);
        }
    }
}

/// The value of an address' key.
fn owner(namespace: &str, name: &str) -> String {
    format!("{namespace}/{name}")
}

async fn own_address(objects: &dyn Objects, kind: &Kind, service: &Value, asked: &str) -> Result<Ipv4Addr> {
    let refuse = |message: String| {
        let errors = [FieldError::invalid("spec.clusterIP", message)];
        Err(ApiError::invalid(kind, object::name(service), &errors))
    };
    match asked.parse::<Ipv4Addr>() {
        Ok(address)
            if usable(objects.service_cidr(), address)
                || is_api(service) && address == api_address(objects.service_cidr()) =>
        {
            match objects.keyspace().get(format!("{PREFIX}{address}")).await? {
                Some(_) => refuse(format!("{address} belongs to another service already")),
                None => Ok(address),
            }
        }
        _ => refuse(format!("{asked:?} is no usable address of {}; leave it out to get one", objects.service_cidr())),
    }
}

async fn free_address(objects: &dyn Objects, service: &Value) -> Result<Ipv4Addr> {
    let mut request = RangeRequest::prefix(PREFIX);
    request.projection = Projection::KeysOnly;
    let taken = objects.keyspace().range(request).await?;
    let text = |key: &[u8]| String::from_utf8_lossy(key).strip_prefix(PREFIX).and_then(|ip| ip.parse().ok());
    let mut taken: Vec<Ipv4Addr> = taken.kvs.iter().filter_map(|kv| text(&kv.key)).collect();
    taken.sort_unstable();
    let seed = object::uid(service).bytes().fold(0_u32, |seed, byte| seed.rotate_left(5) ^ u32::from(byte));
    first_free(objects.service_cidr(), seed, &taken).ok_or_else(|| {
        ApiError::new(
            Reason::InsufficientStorage,
            format!("every service address of {} is taken", objects.service_cidr()),
        )
        .remedy("delete services, or run with a wider service CIDR")
    })
}

/// Whether it is the service of the API itself.
fn is_api(service: &Value) -> bool {
    (object::namespace(service), object::name(service)) == (DEFAULT_NAMESPACE, api_service::NAME)
}

/// The address of the API's service: the first.
fn api_address(net: Ipv4Net) -> Ipv4Addr {
    Ipv4Addr::from(u32::from(net.network()).saturating_add(1))
}

/// Whether services may have the address: neither network, nor broadcast, nor the first (the API's).
fn usable(net: Ipv4Net, address: Ipv4Addr) -> bool {
    let first = u32::from(net.network());
    net.contains(&address) && u32::from(address) > first + 1 && address != net.broadcast()
}

/// The first free address at or after a place that `seed` picks; `taken` is sorted.
fn first_free(net: Ipv4Net, seed: u32, taken: &[Ipv4Addr]) -> Option<Ipv4Addr> {
    let (low, high) = (u32::from(net.network()) + 2, u32::from(net.broadcast()).checked_sub(1)?);
    let size = high.checked_sub(low)?.checked_add(1)?;
    let start = seed % size;
    // One more step than addresses are taken meets a free one, if there is any.
    let steps = size.min(u32::try_from(taken.len()).unwrap_or(u32::MAX).saturating_add(1));
    let mut candidates = (0..size).map(|step| Ipv4Addr::from(low + (start + step) % size));
    candidates
        .by_ref()
        .take(steps as usize)
        .find(|address| taken.binary_search(address).is_err())
        .or_else(|| candidates.find(|address| taken.binary_search(address).is_err()))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn every_usable_address_is_given_once_and_then_none() {
        let net: Ipv4Net = "10.96.0.0/28".parse().unwrap();
        let mut taken = BTreeSet::new();
        for seed in 0..13 {
            let sorted: Vec<_> = taken.iter().copied().collect();
            let address = first_free(net, seed * 7, &sorted).unwrap();
            assert!(usable(net, address), "{address}");
            assert!(taken.insert(address), "{address} twice");
        }
        let all: Vec<_> = taken.into_iter().collect();
        assert_eq!(first_free(net, 3, &all), None);
        assert!(!usable(net, "10.96.0.0".parse().unwrap()) && !usable(net, "10.96.0.15".parse().unwrap()));
    }
}
