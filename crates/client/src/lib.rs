//! Typed client, watch, reflector, work queue, controller runner, events.
