//! The contract of the keyspace, over the protocol: on Debian's etcd, and on this crate's own server.

use std::sync::Arc;

use keyspace::MemoryKeyspace;
use keyspace::testing::{against_model_sparing_deletes, against_model_sparing_reserved, contract};

use crate::harness::{Etcd, backend, server};

macro_rules! promises {
    ($($name:ident),* $(,)?) => {
        mod on_etcd {
            use super::*;

            $(#[tokio::test(flavor = "multi_thread")]
            async fn $name() {
                let etcd = Etcd::start();
                contract::$name(backend(etcd.address()).await).await;
            })*
        }

        mod on_the_face {
            use super::*;

            $(#[tokio::test(flavor = "multi_thread")]
            async fn $name() {
                let (address, _stop) = server(Arc::new(MemoryKeyspace::new())).await;
                contract::$name(backend(address).await).await;
            })*
        }
    };
}

keyspace::promises!(promises);

#[tokio::test(flavor = "multi_thread")]
async fn random_histories_on_the_face_agree_with_the_model() {
    for seed in 0..5 {
        let (address, _stop) = server(Arc::new(MemoryKeyspace::new())).await;
        against_model_sparing_reserved(backend(address).await, seed, 300).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn random_histories_on_etcd_agree_with_the_model() {
    for seed in 0..3 {
        let etcd = Etcd::start();
        against_model_sparing_deletes(backend(etcd.address()).await, seed, 300).await;
    }
}
