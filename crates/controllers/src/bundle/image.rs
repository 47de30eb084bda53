//! From an image to what can be resolved.

use dockyard::{LabelDocument, PortDocument, Protocol, Surface, VolumeDocument};

use crate::ports::ImageInfo;

/// Size of the claim for a volume of an image that does not say how large it is.
const VOLUME_SIZE: &str = "1Gi";

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
    fn a_broken_label_says_where() {
        let image = ImageInfo { label: Some("{".into()), ..ImageInfo::default() };
        assert!(surface(&image).unwrap_err().contains("line 1"));
    }
}
