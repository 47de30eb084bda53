//! Fields of a pod's volumes.

use super::{
    Shape, done, of,
    reference::{OBJECT_FIELD, RESOURCE_FIELD},
    refused, warned,
};

/// Remedy of volumes that no node makes.
const NOT_SERVED: &str =
    "such volumes are not served; use persistentVolumeClaim, emptyDir, secret, configMap, downwardAPI or projected";

pub(super) static VOLUME: Shape = Shape(&[
    refused("awsElasticBlockStore", &[], NOT_SERVED),
    refused("azureDisk", &[], NOT_SERVED),
    refused("azureFile", &[], NOT_SERVED),
    refused("cephfs", &[], NOT_SERVED),
    refused("cinder", &[], NOT_SERVED),
    of("configMap", &CONFIG_MAP_VOLUME),
    refused("csi", &[], NOT_SERVED),
    of("downwardAPI", &DOWNWARD_API_VOLUME),
    of("emptyDir", &EMPTY_DIR),
    refused("ephemeral", &[], NOT_SERVED),
    refused("fc", &[], NOT_SERVED),
    refused("flexVolume", &[], NOT_SERVED),
    refused("flocker", &[], NOT_SERVED),
    refused("gcePersistentDisk", &[], NOT_SERVED),
    refused("gitRepo", &[], NOT_SERVED),
    refused("glusterfs", &[], NOT_SERVED),
    of("hostPath", &HOST_PATH),
    refused("image", &[], NOT_SERVED),
    refused("iscsi", &[], NOT_SERVED),
    done("name"),
    refused("nfs", &[], NOT_SERVED),
    of("persistentVolumeClaim", &CLAIM_VOLUME),
    refused("photonPersistentDisk", &[], NOT_SERVED),
    refused("portworxVolume", &[], NOT_SERVED),
    of("projected", &PROJECTED_VOLUME),
    refused("quobyte", &[], NOT_SERVED),
    refused("rbd", &[], NOT_SERVED),
    refused("scaleIO", &[], NOT_SERVED),
    of("secret", &SECRET_VOLUME),
    refused("storageos", &[], NOT_SERVED),
    refused("vsphereVolume", &[], NOT_SERVED),
]);

static CLAIM_VOLUME: Shape = Shape(&[done("claimName"), done("readOnly")]);

static CONFIG_MAP_VOLUME: Shape =
    Shape(&[done("defaultMode"), of("items", &KEY_TO_PATH), done("name"), done("optional")]);

static SECRET_VOLUME: Shape =
    Shape(&[done("defaultMode"), of("items", &KEY_TO_PATH), done("optional"), done("secretName")]);

static KEY_TO_PATH: Shape = Shape(&[done("key"), done("mode"), done("path")]);

static DOWNWARD_API_VOLUME: Shape = Shape(&[done("defaultMode"), of("items", &DOWNWARD_API_FILE)]);

static DOWNWARD_API_FILE: Shape =
    Shape(&[of("fieldRef", &OBJECT_FIELD), done("mode"), done("path"), of("resourceFieldRef", &RESOURCE_FIELD)]);

static EMPTY_DIR: Shape = Shape(&[done("medium"), done("sizeLimit")]);

static HOST_PATH: Shape = Shape(&[
    warned("path", &[], "only nodes whose owner allows this path run the pod"),
    warned("type", &[], "what the path is is not checked, and nothing is made there"),
]);

static PROJECTED_VOLUME: Shape = Shape(&[done("defaultMode"), of("sources", &PROJECTION)]);

static PROJECTION: Shape = Shape(&[
    refused("clusterTrustBundle", &[], "there are no trust bundles; use a configMap"),
    of("configMap", &MAP_PROJECTION),
    of("downwardAPI", &DOWNWARD_API_PROJECTION),
    refused("podCertificate", &[], "no certificates are issued to pods; put one into a secret"),
    of("secret", &MAP_PROJECTION),
    of("serviceAccountToken", &TOKEN_PROJECTION),
]);

static TOKEN_PROJECTION: Shape = Shape(&[done("audience"), done("expirationSeconds"), done("path")]);

static MAP_PROJECTION: Shape = Shape(&[of("items", &KEY_TO_PATH), done("name"), done("optional")]);

static DOWNWARD_API_PROJECTION: Shape = Shape(&[of("items", &DOWNWARD_API_FILE)]);
