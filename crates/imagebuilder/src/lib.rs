//! Builds OCI images from Dockyard recipes and Debian's packages, reproducibly.
