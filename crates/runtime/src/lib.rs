//! Images and containers: pull, verify, unpack, run in a shim, exec, logs.
