//! Which image a bundle runs, and from an image to what can be resolved.

use api::kinds::Bundle;
use dockyard::{LabelDocument, PortDocument, Protocol, Surface, VolumeDocument};

use crate::ports::ImageInfo;

/// Size of the claim for a volume of an image that does not say how large it is.
const VOLUME_SIZE: &str = "1Gi";

/// What to ask the catalog for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Wanted {
    /// The image as the bundle names it.
    pub(crate) reference: String,
    /// What is looked at: the image itself once it is settled, else what has that name now.
    pub(crate) lookup: String,
    /// Whether the registry is asked although the image is here.
    pub(crate) update: bool,
}

/// The image a bundle runs: its own, or that of its service in the default registry.
#[must_use]
pub fn reference(bundle: &Bundle, registry: &str) -> String {
    let own = bundle.spec.image.as_deref().map(str::trim).filter(|image| !image.is_empty());
    own.map_or_else(|| format!("{registry}/{}:latest", bundle.spec.service), str::to_owned)
}

/// The name by which only this image is meant, whatever becomes of its tag.
pub(crate) fn pinned(reference: &str, digest: &str) -> String {
    if reference.contains('@') || !digest.starts_with("sha256:") {
        return reference.to_owned();
    }
    format!("{reference}@{digest}")
}

/// Which image to look at. A bundle keeps the image its profile was made from: a tag that moves is followed only
/// when the bundle asks for an update, once for each of its generations. `own` is false for a bundle that another
/// one looks at.
pub(crate) fn wanted(bundle: &Bundle, registry: &str, own: bool) -> Wanted {
    let reference = reference(bundle, registry);
    let status = bundle.status.as_ref();
    let seen = status.and_then(|status| status.observed_generation);
    let profile = status.and_then(|status| status.profile.as_ref()).filter(|profile| profile.image == reference);
    let update = own && bundle.spec.update && seen != bundle.metadata.generation;
    let lookup = match profile.filter(|_| !update) {
        Some(profile) => pinned(&reference, &profile.image_digest),
        None => reference.clone(),
    };
    Wanted { reference, lookup, update }
}

/// The option surface of an image. One without the label takes no options; its ports and volumes
/// come from the image configuration.
///
/// # Errors
/// The label cannot be understood; the text says where.
pub fn surface(image: &ImageInfo) -> Result<Surface, String> {
    let surface = match &image.label {
        Some(label) => Surface::parse(label),
        None => Surface::from_document(document(image)),
    };
    surface.map_err(|error| format!("image label {}: {error}", dockyard::LABEL))
}

fn document(image: &ImageInfo) -> LabelDocument {
    let ports = image.ports.iter().map(|(port, protocol)| {
        let udp = protocol.eq_ignore_ascii_case("udp");
        let (protocol, word) = if udp { (Protocol::Udp, "udp") } else { (Protocol::Tcp, "tcp") };
        PortDocument { name: format!("{word}-{port}"), port: *port, protocol, publish: None }
    });
    let volumes = image.volumes.iter().enumerate().map(|(index, path)| VolumeDocument {
        name: format!("volume-{index}"),
        path: path.clone(),
        size: VOLUME_SIZE.to_owned(),
    });
    LabelDocument { ports: ports.collect(), volumes: volumes.collect(), ..LabelDocument::default() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_image_of_elsewhere_keeps_its_ports_and_volumes() {
        let image = ImageInfo {
            ports: vec![(80, "tcp".into()), (53, "udp".into())],
            volumes: vec!["/data".into()],
            ..ImageInfo::default()
        };
        let request = dockyard::Request { bundle: "b", service: "s", namespace: "n", ..dockyard::Request::default() };
        let resolution = dockyard::resolve(&surface(&image).unwrap(), &request).unwrap();
        let ports: Vec<_> = resolution.ports.iter().map(|port| (port.name.as_str(), port.port)).collect();
        assert_eq!(ports, [("tcp-80", 80), ("udp-53", 53)]);
        assert_eq!(resolution.volumes[0].path, "/data");
    }

    #[test]
    fn a_settled_image_stays_until_an_update_is_asked_for() {
        let digest = format!("sha256:{}", "1".repeat(64));
        let bundle = |update: bool, seen: i64, image: &str| -> Bundle {
            let profile = serde_json::json!({"image": image, "imageDigest": digest});
            api::decode(serde_json::json!({"metadata": {"name": "b", "generation": 2},
                "spec": {"service": "app", "update": update}, "status": {"observedGeneration": seen, "profile": profile}}))
            .unwrap()
        };
        let tag = "r.example/app:latest";
        let settled = format!("{tag}@{digest}");
        for (update, seen, image, own, lookup, asks) in [
            (false, 2, tag, true, settled.as_str(), false),
            // A change of options is no update.
            (false, 1, tag, true, settled.as_str(), false),
            (true, 1, tag, true, tag, true),
            (true, 2, tag, true, settled.as_str(), false),
            (true, 1, tag, false, settled.as_str(), false),
            // Another image was settled.
            (false, 2, "r.example/app:old", true, tag, false),
        ] {
            let wanted = wanted(&bundle(update, seen, image), "r.example", own);
            assert_eq!((wanted.lookup.as_str(), wanted.update), (lookup, asks), "{update} {seen} {image} {own}");
        }
        let fresh: Bundle =
            api::decode(serde_json::json!({"metadata": {"name": "b"}, "spec": {"service": "app"}})).unwrap();
        assert_eq!(wanted(&fresh, "r.example", true).lookup, tag);
        assert_eq!(pinned("r.example/app@sha256:2", &digest), "r.example/app@sha256:2");
    }

    #[test]
    fn a_broken_label_says_where() {
        let image = ImageInfo { label: Some("{".into()), ..ImageInfo::default() };
        assert!(surface(&image).unwrap_err().contains("line 1"));
    }
}
