//! Runs the pods of one node: sandbox, volumes, images, containers, probes, bindings.
