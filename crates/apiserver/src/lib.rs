//! The generic registry of kinds over HTTP: CRUD, watch, tables, discovery, OpenAPI, exec and logs.
