//! The install flow of a bundle, decided from what is.

use std::collections::{BTreeMap, BTreeSet};

use api::kinds::{
    Binding, Bundle, PersistentVolumeClaim, Pod, Secret, Service, StatefulSet,
    bundle::{BindingRecord, BundleReason, BundleStatus, Profile, ReasonClass},
};
use api::{
    Resource,
    meta::controller_reference,
    names::{annotation::NOT_AFTER, finalizer::BUNDLE_CLEANUP},
};
use dockyard::{FieldError, Peer, Request, Requirement, Resolution, Surface};
use jiff::Timestamp;

use super::{
    bindings,
    conditions::{Open, Progress, conditions},
    image, names, readiness,
    secrets::{self, Make},
    workload,
};
use crate::{controller::Next, step::Step, world::is_applied};

/// The image of a bundle and its option surface.
pub(crate) struct Image {
    pub(crate) reference: String,
    pub(crate) digest: String,
    pub(crate) surface: Surface,
}

/// A bundle and everything about it.
pub(crate) struct Observed {
    pub(crate) bundle: Bundle,
    /// The image, or why there is none.
    pub(crate) image: Result<Image, Open>,
    /// Selected bundles that exist, by name.
    pub(crate) peers: BTreeMap<String, Bundle>,
    /// Option surfaces of those whose image can be read.
    pub(crate) surfaces: BTreeMap<String, Surface>,
    pub(crate) facts: dockyard::Facts,
    /// Certificate of the authority that signs services' certificates, PEM, when it can be used.
    pub(crate) authority: Option<String>,
    pub(crate) profile_secret: Option<Secret>,
    pub(crate) tls_secret: Option<Secret>,
    pub(crate) bindings: Vec<Binding>,
    pub(crate) service: Option<Service>,
    pub(crate) set: Option<StatefulSet>,
    pub(crate) pod: Option<Pod>,
    /// Claims with the bundle's label.
    pub(crate) claims: Vec<PersistentVolumeClaim>,
    pub(crate) now: Timestamp,
}

/// What to do now.
#[derive(Debug, Default)]
pub(crate) struct Plan {
    /// Changes of everything but the bundle's status.
    pub(crate) steps: Vec<Step>,
    /// Secrets to make first; then the bundle is looked at again.
    pub(crate) make: Option<Make>,
    /// The status once the steps are done.
    pub(crate) status: BundleStatus,
    pub(crate) next: Next,
}

/// Bundles that the options select, before anything is known about them; refusals come with [`plan`].
pub(crate) fn requirements(observed: &Observed) -> Vec<Requirement> {
    let Ok(image) = &observed.image else { return Vec::new() };
    dockyard::requirements(&image.surface, &request(observed)).unwrap_or_default()
}

/// Decides.
pub(crate) fn plan(observed: &Observed) -> Plan {
    let mut plan = Plan { status: observed.bundle.status.clone().unwrap_or_default(), ..Plan::default() };
    let progress = advance(observed, &mut plan);
    if observed.image.is_ok() {
        plan.status.observed_generation = observed.bundle.metadata.generation;
    }
    plan.status.conditions = conditions(&observed.bundle, &progress, observed.now);
    plan
}

/// The status when carrying the steps out was refused.
pub(crate) fn refused(observed: &Observed, plan: &Plan, message: String) -> BundleStatus {
    let progress = Progress::Workload(Open::Failed(message));
    BundleStatus { conditions: conditions(&observed.bundle, &progress, observed.now), ..plan.status.clone() }
}

/// The step that stores a status, and events for what changed in it; nothing when it is stored already.
pub(crate) fn status_steps(bundle: &Bundle, status: &BundleStatus) -> Vec<Step> {
    if bundle.status.as_ref() == Some(status) {
        return Vec::new();
    }
    let mut steps = vec![Step::replace_status(&Bundle { status: Some(status.clone()), ..bundle.clone() })];
    // Conditions behind the first one that is not True only wait for it.
    let settled = status.conditions.iter().take_while(|condition| condition.status == "True").count();
    for condition in status.conditions.iter().take(settled + 1) {
        let before = bundle.condition(&condition.type_);
        if before.is_none_or(|before| before.reason != condition.reason) {
            let class = BundleReason::parse(&condition.reason).map(BundleReason::class);
            let news = if class == Some(ReasonClass::Failed) { Step::warning } else { Step::normal };
            steps.push(news(bundle, &condition.reason, condition.message.as_str()));
        }
    }
    steps
}

/// What a bundle that is being deleted needs: volumes to keep lose their owner, then it may go.
pub(crate) fn finalize(bundle: &Bundle, claims: &[PersistentVolumeClaim]) -> Vec<Step> {
    let mut steps = claim_owners(bundle, claims);
    let mut free = bundle.clone();
    if BUNDLE_CLEANUP.remove(&mut free.metadata) {
        steps.push(Step::replace(&free));
    }
    steps
}

fn request(observed: &Observed) -> Request<'_> {
    let bundle = &observed.bundle;
    let profile = bundle.status.as_ref().and_then(|status| status.profile.as_ref());
    let options =
        |all: &BTreeMap<String, String>| all.iter().map(|(key, value)| (key.clone(), value.clone())).collect();
    let peers = observed.peers.iter().filter_map(|(name, peer)| {
        let resolved = peer.status.as_ref().and_then(|status| status.profile.as_ref());
        let peer = Peer {
            service: peer.spec.service.clone(),
            surface: observed.surfaces.get(name)?.clone(),
            options: resolved.map(|profile| options(&profile.options)).unwrap_or_default(),
        };
        Some((name.clone(), peer))
    });
    Request {
        bundle: names::name(bundle),
        service: &bundle.spec.service,
        namespace: names::namespace(bundle),
        options: options(&bundle.spec.options),
        facts: observed.facts,
        profile: dockyard::Profile {
            options: profile.map(|profile| options(&profile.options)).unwrap_or_default(),
            secrets: secrets::existing(observed.profile_secret.as_ref()).collect::<BTreeSet<_>>(),
        },
        peers: peers.collect(),
    }
}

/// Goes through the flow until something is open.
fn advance(observed: &Observed, plan: &mut Plan) -> Progress {
    let (image, resolution) = match resolve(observed) {
        Ok(resolved) => resolved,
        Err(open) => return Progress::Profile(open),
    };
    let bundle = &observed.bundle;
    let before = plan.status.profile.take().unwrap_or_default();
    plan.status.profile = Some(Profile { bindings: before.bindings, ..profile(bundle, image, &resolution) });
    let (make, renewal) = secrets::missing(
        bundle,
        &resolution,
        observed.tls_secret.as_ref(),
        observed.authority.as_deref(),
        observed.now,
    );
    plan.next = plan.next.sooner(renewal.map_or(Next::OnChange, Next::After));
    if make.is_some() {
        plan.make = make;
        return Progress::Secrets(Open::Pending("secrets and certificates are being made".into()));
    }
    let outcome = bindings::plan(&bindings::Observed {
        bundle,
        plans: &resolution.bindings,
        targets: &observed.peers,
        bindings: &observed.bindings,
        profile_secret: observed.profile_secret.as_ref(),
        now: observed.now,
    });
    plan.steps.extend(outcome.steps);
    plan.next = plan.next.sooner(outcome.next);
    record(&mut plan.status, outcome.records);
    if let Some(open) = outcome.open {
        return Progress::Bindings(open);
    }
    plan.status.endpoints = readiness::endpoints(bundle, &resolution);
    let changes = workload_steps(observed, image, &resolution);
    let unchanged = changes.is_empty();
    plan.steps.extend(changes);
    plan.steps.extend(claim_owners(bundle, &observed.claims));
    match readiness::progress(bundle, observed.set.as_ref(), observed.pod.as_ref()) {
        Progress::Running if !unchanged => Progress::Start(Open::Pending("the workload is being replaced".into())),
        other => other,
    }
}

fn record(status: &mut BundleStatus, records: Vec<BindingRecord>) {
    if let Some(profile) = &mut status.profile {
        profile.bindings = records;
    }
}

fn resolve(observed: &Observed) -> Result<(&Image, Resolution), Open> {
    let bundle = &observed.bundle;
    if bundle.spec.snapshot.is_some() {
        return Err(Open::Failed(
            "spec.snapshot: this version cannot restore volumes at install; remove the field and restore by hand"
                .into(),
        ));
    }
    let image = observed.image.as_ref().map_err(Clone::clone)?;
    let request = request(observed);
    let wanted = dockyard::requirements(&image.surface, &request).map_err(|errors| Open::Failed(refusals(&errors)))?;
    for requirement in wanted {
        if let Some(wait) = peer_wait(observed, &requirement) {
            return Err(wait);
        }
    }
    let resolution = dockyard::resolve(&image.surface, &request).map_err(|errors| Open::Failed(refusals(&errors)))?;
    Ok((image, resolution))
}

/// Why a selected bundle cannot be resolved against.
fn peer_wait(observed: &Observed, wanted: &Requirement) -> Option<Open> {
    let Requirement { option, service, bundle } = wanted;
    let Some(peer) = observed.peers.get(bundle).filter(|peer| peer.metadata.deletion_timestamp.is_none()) else {
        let name = if service == bundle { String::new() } else { format!(" --name {bundle}") };
        let missing = format!(
            "spec.options.{option}: bundle {bundle} is not installed; run `nanocloud install {service}{name}` first"
        );
        // Who installs it is told at once. What was prepared once only waits for the other to come back; and so does
        // this, but nobody has to stay for that.
        let prepared = observed.bundle.status.as_ref().is_some_and(|status| status.profile.is_some());
        return Some(if prepared { Open::Pending(missing) } else { Open::Failed(missing) });
    };
    if peer.spec.service != *service {
        let found = &peer.spec.service;
        return Some(Open::Failed(format!(
            "spec.options.{option}: bundle {bundle} is an instance of {found}, not of {service}; select another bundle"
        )));
    }
    let prepared = peer.is("ProfilePrepared") && observed.surfaces.contains_key(bundle);
    (!prepared).then(|| Open::Pending(format!("waits for bundle {bundle} to be prepared")))
}

/// Refusals as one text: field paths, reasons and allowed values.
pub(crate) fn refusals(errors: &[FieldError]) -> String {
    errors.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ")
}

fn profile(bundle: &Bundle, image: &Image, resolution: &Resolution) -> Profile {
    let secrets: Vec<_> = resolution.secrets.keys().cloned().collect();
    let secret_name = if secrets.is_empty() { String::new() } else { names::profile_secret(names::name(bundle)) };
    Profile {
        image: image.reference.clone(),
        image_digest: image.digest.clone(),
        options: resolution.options.iter().map(|(key, value)| (key.clone(), value.clone())).collect(),
        secrets,
        secret_name,
        bindings: Vec::new(),
    }
}

fn workload_steps(observed: &Observed, image: &Image, resolution: &Resolution) -> Vec<Step> {
    let annotations = observed.tls_secret.as_ref().and_then(|secret| secret.metadata.annotations.as_ref());
    let pinned = image::pinned(&image.reference, &image.digest);
    let mut input = workload::Input {
        bundle: &observed.bundle,
        image: &pinned,
        image_digest: &image.digest,
        resolution,
        certificate: annotations.and_then(|all| all.get(NOT_AFTER)).map(String::as_str),
    };
    let mut steps = Vec::new();
    if let Some(service) = workload::service(&input) {
        steps.extend(put(observed.service.as_ref(), service, |found, wanted| {
            // The address is given by the API server and kept.
            let address = found.spec.as_ref().and_then(|spec| spec.cluster_ip.clone());
            if let Some(spec) = &mut wanted.spec {
                spec.cluster_ip = address;
            }
        }));
    }
    let set = workload::stateful_set(&input);
    // What was made before images were pinned is not made anew for that alone.
    input.image = &image.reference;
    if workload_set(observed.set.as_ref(), workload::stateful_set(&input)).is_some() {
        steps.extend(workload_set(observed.set.as_ref(), set));
    }
    steps
}

/// Makes the set, or changes it. Its claims are for good: a set whose pods have other volumes is made anew, and finds
/// the claims that are there.
fn workload_set(found: Option<&StatefulSet>, wanted: StatefulSet) -> Option<Step> {
    let claims = |set: &StatefulSet| {
        let templates = set.spec.iter().flat_map(|spec| spec.volume_claim_templates.iter().flatten());
        templates.map(|claim| claim.metadata.name.clone().unwrap_or_default()).collect::<BTreeSet<_>>()
    };
    match found {
        Some(found) if found.metadata.deletion_timestamp.is_some() => None,
        Some(found) if claims(found) != claims(&wanted) => Some(Step::delete(found)),
        _ => put(found, wanted, |found, wanted| {
            if let (Some(before), Some(spec)) = (&found.spec, &mut wanted.spec) {
                spec.volume_claim_templates = before.volume_claim_templates.clone();
            }
        }),
    }
}

/// Creates what is missing, replaces what differs.
fn put<R: Resource>(found: Option<&R>, mut wanted: R, keep: impl Fn(&R, &mut R)) -> Option<Step> {
    let Some(found) = found else { return Some(Step::create(&wanted)) };
    keep(found, &mut wanted);
    if is_applied(found, &wanted) {
        return None;
    }
    // Identity and version are those of the object that is replaced.
    let ours = wanted.meta().clone();
    let meta = wanted.meta_mut();
    *meta = found.meta().clone();
    meta.labels.get_or_insert_default().extend(ours.labels.unwrap_or_default());
    meta.owner_references = ours.owner_references;
    Some(Step::replace(&wanted))
}

/// Makes the bundle own its volumes, or sets them free when they are to be kept.
fn claim_owners(bundle: &Bundle, claims: &[PersistentVolumeClaim]) -> Vec<Step> {
    let keep = workload::keeps_volumes(bundle);
    let mut steps = Vec::new();
    for claim in claims.iter().filter(|claim| claim.metadata.deletion_timestamp.is_none()) {
        let owned = names::is_owned(bundle, &claim.metadata);
        let free = claim.metadata.owner_references.iter().flatten().next().is_none();
        let mut changed = claim.clone();
        let owners = changed.metadata.owner_references.get_or_insert_default();
        if keep && owned {
            owners.retain(|owner| Some(&owner.uid) != bundle.metadata.uid.as_ref());
        } else if !keep && free && bundle.metadata.deletion_timestamp.is_none() {
            owners.push(controller_reference(bundle));
        } else {
            continue;
        }
        steps.push(Step::replace(&changed));
    }
    steps
}

#[cfg(test)]
mod tests;
