//! `nanocloud.io/v1 Bundle`: from a service's name and options to a running, bound workload.
//!
//! ```text
//!  image ─► surface ─► resolve ─► Secrets ─► Bindings ─► Service, StatefulSet ─► Ready
//!        ProfilePrepared     SecretsProvisioned      Bound                    Ready
//! ```

mod backoff;
mod bindings;
mod conditions;
pub(crate) mod image;
pub mod names;
mod plan;
pub(crate) mod random;
mod readiness;
mod revoke;
mod secrets;
mod workload;

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use api::{
    Kind, LabelSelector, ObjectKey,
    kinds::{Binding, Bundle, PersistentVolumeClaim, Pod, Secret, Service, StatefulSet},
    names::{finalizer::BUNDLE_CLEANUP, label::INSTANCE},
};
use async_trait::async_trait;
use client::chain;
use dockyard::Surface;
use parking_lot::Mutex;
use serde_json::Value;

use crate::{
    context::Context,
    controller::{Change, Controller, Next, Watch, itself, namespace_of, owner},
    error::{Error, WorldError},
    ports::CatalogError,
    step::Step,
    world::{self, World},
};

pub use backoff::BINDING_BACKOFF_MAX;
pub use conditions::MESSAGE_MAX;
pub use image::{reference, surface};

use conditions::Open;
use plan::{Image, Observed, Plan};
use secrets::Make;

/// Pause before an image that could not be looked at is asked for again.
const IMAGE_RETRY: Duration = Duration::from_secs(15);

/// Reconciles bundles.
pub struct Bundles {
    context: Context,
    /// Who waits for whom: only to wake them; every reconcile writes its part again.
    waiting: std::sync::Arc<Mutex<BTreeMap<ObjectKey, BTreeSet<ObjectKey>>>>,
}

impl Bundles {
    /// A controller over these ports.
    #[must_use]
    pub fn new(context: Context) -> Self {
        Self { context, waiting: std::sync::Arc::default() }
    }

    /// Reads everything about a bundle.
    async fn observe(&self, world: &dyn World, bundle: Bundle) -> Result<Observed, Error> {
        let key = ObjectKey::of(&bundle);
        let name = key.name.clone();
        let beside = |name: String| names::beside(&bundle, name);
        let mut observed = Observed {
            image: self.image(&bundle, true).await,
            peers: BTreeMap::new(),
            surfaces: BTreeMap::new(),
            facts: self.context.host.facts(),
            authority: self.context.issuer.authority().map(str::to_owned),
            profile_secret: world::get::<Secret>(world, &beside(names::profile_secret(&name))).await?,
            tls_secret: world::get::<Secret>(world, &beside(names::tls_secret(&name))).await?,
            bindings: bindings(world, &bundle).await?,
            service: world::get::<Service>(world, &key).await?,
            set: world::get::<StatefulSet>(world, &key).await?,
            pod: world::get::<Pod>(world, &beside(names::pod(&name))).await?,
            claims: claims(world, &bundle).await?,
            now: world.now(),
            bundle,
        };
        let wanted = plan::requirements(&observed);
        // Interest is noted before the bundles are read, so that no change between is missed.
        self.wait_for(&key, wanted.iter().map(|wanted| names::beside(&observed.bundle, wanted.bundle.clone())));
        for wanted in wanted {
            let peer = names::beside(&observed.bundle, wanted.bundle.clone());
            if let Some(peer) = world::get::<Bundle>(world, &peer).await? {
                if let Ok(image) = self.image(&peer, false).await {
                    observed.surfaces.insert(wanted.bundle.clone(), image.surface);
                }
                observed.peers.insert(wanted.bundle, peer);
            }
        }
        Ok(observed)
    }

    /// Takes back what bindings made, then sets the bundle free.
    async fn uninstall(&self, world: &dyn World, bundle: &Bundle) -> Result<Next, Error> {
        if !BUNDLE_CLEANUP.holds(&bundle.metadata) {
            return Ok(Next::OnChange);
        }
        let bindings = bindings(world, bundle).await?;
        let kept = bindings.iter().filter(|binding| binding.metadata.deletion_timestamp.is_none());
        world::apply(world, &kept.map(Step::delete).collect::<Vec<_>>()).await?;
        if !bindings.is_empty() {
            // Their end brings the bundle here again.
            return self.revoke(world, bundle, &bindings).await;
        }
        let claims = claims(world, bundle).await?;
        world::apply(world, &plan::finalize(bundle, &claims)).await?;
        Ok(Next::OnChange)
    }

    /// Goes on with what bindings that are being deleted have to take back.
    async fn revoke(&self, world: &dyn World, bundle: &Bundle, bindings: &[Binding]) -> Result<Next, Error> {
        let mut targets = BTreeMap::new();
        for name in revoke::targets(bindings).collect::<BTreeSet<_>>() {
            if let Some(target) = world::get::<Bundle>(world, &names::beside(bundle, name.to_owned())).await? {
                targets.insert(name.to_owned(), target);
            }
        }
        let (steps, next) = revoke::plan(bundle, bindings, &targets, world.now());
        world::apply(world, &steps).await?;
        Ok(next)
    }

    /// The image of a bundle.
    async fn image(&self, bundle: &Bundle, own: bool) -> Result<Image, Open> {
        let wanted = image::wanted(bundle, &self.context.config.registry, own);
        let info = self.context.catalog.inspect(&wanted.lookup, wanted.update).await.map_err(|error| {
            let text = chain(&error);
            if matches!(error, CatalogError::Unavailable { .. }) { Open::Pending(text) } else { Open::Failed(text) }
        })?;
        let surface: Surface = surface(&info).map_err(Open::Failed)?;
        Ok(Image { reference: wanted.reference, digest: info.digest, surface })
    }

    fn wait_for(&self, key: &ObjectKey, targets: impl Iterator<Item = ObjectKey>) {
        let mut waiting = self.waiting.lock();
        waiting.retain(|_, keys| {
            keys.remove(key);
            !keys.is_empty()
        });
        for target in targets {
            waiting.entry(target).or_default().insert(key.clone());
        }
    }

    /// Makes secrets and certificates and stores them.
    async fn make(&self, world: &dyn World, observed: &Observed, make: &Make) -> Result<(), Error> {
        let bundle = &observed.bundle;
        let random = self.context.random.as_ref();
        let step = secrets::profile_step(bundle, observed.profile_secret.as_ref(), &make.secrets, random)
            .map_err(|source| Error::Secrets { bundle: ObjectKey::of(bundle), source })?;
        world::apply(world, step.as_slice()).await?;
        if let Some(request) = &make.certificate {
            let issued = self.context.issuer.issue(request);
            let issued = issued.map_err(|source| Error::Certificate { bundle: ObjectKey::of(bundle), source })?;
            let step = secrets::tls_step(bundle, observed.tls_secret.as_ref(), request, &issued);
            world::apply(world, &[step]).await?;
        }
        Ok(())
    }

    async fn carry_out(&self, world: &dyn World, observed: &Observed, plan: &Plan) -> Result<(), Error> {
        let done = world::apply(world, &plan.steps).await;
        let status = match &done {
            Err(error @ Error::Write { source: WorldError::Refused { .. }, .. }) => {
                plan::refused(observed, plan, chain(error))
            }
            Err(_) => return done,
            Ok(()) => plan.status.clone(),
        };
        world::apply(world, &plan::status_steps(&observed.bundle, &status)).await?;
        if let Some(make) = &plan.make
            && let Err(error) = self.make(world, observed, make).await
        {
            if !error.is_conflict() {
                tracing::warn!(bundle = %ObjectKey::of(&observed.bundle), error = %chain(&error), "secrets were not made");
            }
            return Err(error);
        }
        done
    }
}

#[async_trait]
impl Controller for Bundles {
    fn name(&self) -> &'static str {
        "bundle-controller"
    }

    fn watches(&self) -> Vec<Watch> {
        let waiting = self.waiting.clone();
        let with_waiting = move |change: Change<'_>| {
            let mut keys = itself(change);
            let others = keys.first().and_then(|key| waiting.lock().get(key).cloned());
            keys.extend(others.into_iter().flatten());
            keys
        };
        let owned = |change: Change<'_>| owner(change, "Bundle");
        vec![
            Watch::new(Kind::of::<Bundle>(), with_waiting),
            Watch::new(Kind::of::<Secret>(), owned),
            Watch::new(Kind::of::<Binding>(), owned),
            Watch::new(Kind::of::<Service>(), owned),
            Watch::new(Kind::of::<StatefulSet>(), owned),
            Watch::new(Kind::of::<Pod>(), of_instance),
            Watch::new(Kind::of::<PersistentVolumeClaim>(), of_instance),
        ]
    }

    async fn reconcile(&self, world: &dyn World, key: &ObjectKey) -> Result<Next, Error> {
        let Some(mut bundle) = world::get::<Bundle>(world, key).await? else {
            self.wait_for(key, std::iter::empty());
            return Ok(Next::OnChange);
        };
        if bundle.metadata.deletion_timestamp.is_some() {
            return self.uninstall(world, &bundle).await;
        }
        if BUNDLE_CLEANUP.add(&mut bundle.metadata) {
            world::apply(world, &[Step::replace(&bundle)]).await?;
            return Ok(Next::OnChange);
        }
        let observed = self.observe(world, bundle).await?;
        let plan = plan::plan(&observed);
        self.carry_out(world, &observed, &plan).await?;
        let revoked = self.revoke(world, &observed.bundle, &observed.bindings).await?;
        let retry = if observed.image.is_err() { Next::After(IMAGE_RETRY) } else { Next::OnChange };
        Ok(plan.next.sooner(retry).sooner(revoked))
    }
}

async fn bindings(world: &dyn World, bundle: &Bundle) -> Result<Vec<Binding>, Error> {
    let all = world::list::<Binding>(world, Some(names::namespace(bundle))).await?;
    Ok(all.into_iter().filter(|binding| names::is_owned(bundle, &binding.metadata)).collect())
}

async fn claims(world: &dyn World, bundle: &Bundle) -> Result<Vec<PersistentVolumeClaim>, Error> {
    let selector = LabelSelector::equals(&names::selector(bundle));
    let all = world::list::<PersistentVolumeClaim>(world, Some(names::namespace(bundle))).await?;
    Ok(all.into_iter().filter(|claim| selector.matches(claim.metadata.labels.as_ref())).collect())
}

fn of_instance(change: Change<'_>) -> Vec<ObjectKey> {
    let labels = change.object.pointer("/metadata/labels");
    let name = labels.and_then(|labels| labels.get(INSTANCE)).and_then(Value::as_str);
    name.map(|name| ObjectKey { namespace: namespace_of(change.object), name: name.to_owned() }).into_iter().collect()
}
