//! Files of bbolt, which is how etcd keeps and ships its data: written once, from sorted records, page after page.
//!
//! ```text
//!   page 0, 1   meta: where root and free list are, how many pages there are
//!   page 2      free list, empty
//!   page 3      root: names of the buckets, each with the page its tree begins at
//!   page 4 …    leaves and branches of the buckets
//! ```
//!
//! The format is described in bbolt's `page.go`, `bucket.go` and `db.go`. Numbers are little-endian, as on every
//! machine etcd supports; a record longer than a page takes as many pages as it needs, in a row.

mod page;
mod writer;

pub(crate) use writer::Writer;
