//! Fields of pods.

use super::{
    Shape,
    container::CONTAINER,
    done, of, only,
    reference::LOCAL_REFERENCE,
    refused, reported,
    scheduling::{AFFINITY, SCHEDULING_GATE, TOLERATION, TOPOLOGY_SPREAD_CONSTRAINT},
    security::POD_SECURITY_CONTEXT,
    shared,
    volume::VOLUME,
    warned,
};

pub(crate) static POD: Shape = Shape(&[shared("metadata"), of("spec", &POD_SPEC), reported("status")]);

pub(super) static POD_SPEC: Shape = Shape(&[
    done("activeDeadlineSeconds"),
    of("affinity", &AFFINITY),
    done("automountServiceAccountToken"),
    of("containers", &CONTAINER),
    of("dnsConfig", &DNS_CONFIG),
    done("dnsPolicy"),
    done("enableServiceLinks"),
    refused("ephemeralContainers", &[], "containers cannot be added to a pod; use exec"),
    of("hostAliases", &HOST_ALIAS),
    refused("hostIPC", &["false"], "pods have their own IPC; leave it out"),
    warned("hostNetwork", &["false"], "only nodes whose owner allows it run the pod"),
    refused("hostPID", &["false"], "pods do not see the processes of the host; leave it out"),
    refused("hostUsers", &["true"], "users are those of the host; leave it out and set runAsUser"),
    done("hostname"),
    refused("hostnameOverride", &[], "the host name is hostname, or the name of the pod; use hostname"),
    of("imagePullSecrets", &LOCAL_REFERENCE),
    of("initContainers", &CONTAINER),
    done("nodeName"),
    done("nodeSelector"),
    of("os", &POD_OS),
    refused("overhead", &["{}"], "there are no runtime classes; leave it out"),
    only("preemptionPolicy", &["PreemptLowerPriority"], "no pod makes room for another; leave it out"),
    only("priority", &["0", "2000000000", "2000001000"], "it comes from priorityClassName; leave it out"),
    warned("priorityClassName", &[], "no pod comes before another"),
    of("readinessGates", &READINESS_GATE),
    refused("resourceClaims", &[], "devices are not given to pods; leave it out"),
    refused("resources", &["{}"], "pods have no resources of their own; set those of the containers"),
    done("restartPolicy"),
    refused("runtimeClassName", &[], "there are no runtime classes; leave it out"),
    done("schedulerName"),
    of("schedulingGates", &SCHEDULING_GATE),
    refused("schedulingGroup", &[], "pods are scheduled one by one; leave it out"),
    of("securityContext", &POD_SECURITY_CONTEXT),
    done("serviceAccount"),
    done("serviceAccountName"),
    done("setHostnameAsFQDN"),
    refused("shareProcessNamespace", &["false"], "each container sees its own processes alone; leave it out"),
    done("subdomain"),
    done("terminationGracePeriodSeconds"),
    of("tolerations", &TOLERATION),
    of("topologySpreadConstraints", &TOPOLOGY_SPREAD_CONSTRAINT),
    of("volumes", &VOLUME),
]);

static DNS_CONFIG: Shape = Shape(&[done("nameservers"), of("options", &DNS_OPTION), done("searches")]);

static DNS_OPTION: Shape = Shape(&[done("name"), done("value")]);

static HOST_ALIAS: Shape = Shape(&[done("hostnames"), done("ip")]);

static POD_OS: Shape = Shape(&[only("name", &["linux"], "containers run on Linux")]);

static READINESS_GATE: Shape = Shape(&[done("conditionType")]);
