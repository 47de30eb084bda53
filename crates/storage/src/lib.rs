//! Volumes: create, publish, unpublish, delete under one root.
