//! Fields of services.

use super::{Shape, done, of, refused, reported, shared, warned};

/// Remedy of fields that only other types of services have.
const CLUSTER_IP_ONLY: &str =
    "only services of type ClusterIP are served; leave it out and publish ports with hostPort";

pub(crate) static SERVICE: Shape = Shape(&[shared("metadata"), of("spec", &SERVICE_SPEC), reported("status")]);

static SERVICE_SPEC: Shape = Shape(&[
    refused("allocateLoadBalancerNodePorts", &[], CLUSTER_IP_ONLY),
    done("clusterIP"),
    done("clusterIPs"),
    refused("externalIPs", &[], "traffic to addresses outside the cluster is not taken; publish ports with hostPort"),
    refused("externalName", &[], CLUSTER_IP_ONLY),
    refused("externalTrafficPolicy", &[], CLUSTER_IP_ONLY),
    refused("healthCheckNodePort", &["0"], CLUSTER_IP_ONLY),
    // Traffic goes to pods of the client's node in either case: those of others cannot be reached yet.
    done("internalTrafficPolicy"),
    done("ipFamilies"),
    done("ipFamilyPolicy"),
    refused("loadBalancerClass", &[], CLUSTER_IP_ONLY),
    refused("loadBalancerIP", &[], CLUSTER_IP_ONLY),
    refused("loadBalancerSourceRanges", &[], CLUSTER_IP_ONLY),
    of("ports", &SERVICE_PORT),
    done("publishNotReadyAddresses"),
    done("selector"),
    done("sessionAffinity"),
    of("sessionAffinityConfig", &SESSION_AFFINITY),
    warned("trafficDistribution", &[], "traffic is spread over all ready pods of the client's node alike"),
    done("type"),
]);

static SERVICE_PORT: Shape = Shape(&[
    done("appProtocol"),
    done("name"),
    refused("nodePort", &["0"], CLUSTER_IP_ONLY),
    done("port"),
    done("protocol"),
    done("targetPort"),
]);

static SESSION_AFFINITY: Shape = Shape(&[of("clientIP", &CLIENT_IP)]);

static CLIENT_IP: Shape =
    Shape(&[warned("timeoutSeconds", &["10800"], "clients stay with their pod as long as it is there")]);
