//! Multi-version keyspace: revisions, transactions, leases, watch; deterministic, no IO.
