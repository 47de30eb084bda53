//! The image catalog for controllers, from the image store of the node.

use std::sync::Arc;

use async_trait::async_trait;
use controllers::ports::{Catalog, CatalogError, ImageInfo};
use images::{ImageError, ImageStore, PullPolicy};

/// The image store as a catalog.
#[derive(Debug)]
pub struct Images(pub Arc<ImageStore>);

#[async_trait]
impl Catalog for Images {
    async fn inspect(&self, reference: &str, update: bool) -> Result<ImageInfo, CatalogError> {
        let policy = if update { PullPolicy::Always } else { PullPolicy::IfNotPresent };
        let (digest, settings) = self.0.inspect(reference, policy).await.map_err(|error| refusal(reference, error))?;
        Ok(ImageInfo {
            digest,
            label: settings.labels.get(dockyard::LABEL).cloned(),
            user: settings.user,
            ports: settings.exposed_ports.iter().filter_map(|port| parse_port(port)).collect(),
            volumes: settings.volumes,
        })
    }
}

fn refusal(reference: &str, error: ImageError) -> CatalogError {
    let reference = reference.to_owned();
    match error {
        ImageError::NotFound { .. } | ImageError::NotPresent { .. } => CatalogError::NotFound { reference },
        ImageError::Registry { .. } | ImageError::Download { .. } => {
            CatalogError::Unavailable { reference, source: error.into() }
        }
        _ => CatalogError::Broken { reference, source: error.into() },
    }
}

/// `3306/tcp`, or `3306` for TCP.
fn parse_port(text: &str) -> Option<(u16, String)> {
    let (number, protocol) = text.split_once('/').unwrap_or((text, "tcp"));
    Some((number.parse().ok()?, protocol.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ports_have_a_protocol() {
        assert_eq!(parse_port("3306/tcp"), Some((3306, "tcp".into())));
        assert_eq!(parse_port("53/udp"), Some((53, "udp".into())));
        assert_eq!(parse_port("80"), Some((80, "tcp".into())));
        assert_eq!(parse_port("http"), None);
    }
}
