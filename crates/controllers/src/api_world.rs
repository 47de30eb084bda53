//! The world over the API server.

use ::client::{Api, Client, DeleteParams, DynamicApi, EventRecorder, ListParams, Severity};
use api::{
    Kind, Kinds, ObjectKey,
    kinds::{CustomResourceDefinition, Namespace, Pod},
};
use async_trait::async_trait;
use jiff::Timestamp;
use serde_json::Value;

use crate::{
    controller::namespace_of,
    error::WorldError,
    step::{Deletion, Notice},
    world::World,
};

/// The API through a client, with the events of one controller.
#[derive(Debug)]
pub(crate) struct ApiWorld {
    pub(crate) client: Client,
    pub(crate) recorder: EventRecorder,
}

impl ApiWorld {
    fn objects(&self, kind: &Kind, namespace: Option<&str>) -> DynamicApi {
        DynamicApi::new(self.client.clone(), kind, namespace)
    }

    /// The objects beside this one.
    fn beside(&self, kind: &Kind, object: &Value) -> DynamicApi {
        self.objects(kind, namespace_of(object).as_deref())
    }
}

impl From<::client::Error> for WorldError {
    fn from(error: ::client::Error) -> Self {
        let code = error.status().map(|status| status.code);
        let exists = error.is_already_exists();
        let source = Box::new(error);
        match code {
            Some(404) => Self::Missing,
            Some(409) if exists => Self::Exists { source },
            Some(409) => Self::Conflict { source },
            Some(400 | 403 | 405 | 413 | 415 | 422) => Self::Refused { source },
            _ => Self::Unavailable { source },
        }
    }
}

#[async_trait]
impl World for ApiWorld {
    fn now(&self) -> Timestamp {
        Timestamp::now()
    }

    async fn kinds(&self) -> Result<Kinds, WorldError> {
        let found = self.list(&Kind::of::<CustomResourceDefinition>(), None).await?;
        let definitions: Vec<CustomResourceDefinition> =
            found.into_iter().filter_map(|one| api::decode(one).ok()).collect();
        Ok(Kinds::builtin().with_definitions(&definitions))
    }

    async fn get(&self, kind: &Kind, key: &ObjectKey) -> Result<Option<Value>, WorldError> {
        Ok(self.objects(kind, key.namespace.as_deref()).get_opt(&key.name).await?)
    }

    async fn list(&self, kind: &Kind, namespace: Option<&str>) -> Result<Vec<Value>, WorldError> {
        let (objects, _) = self.objects(kind, namespace).list_all(&ListParams::default()).await?;
        Ok(objects)
    }

    async fn create(&self, kind: &Kind, object: &Value) -> Result<(), WorldError> {
        self.beside(kind, object).create(object).await?;
        Ok(())
    }

    async fn replace(&self, kind: &Kind, object: &Value) -> Result<(), WorldError> {
        self.beside(kind, object).replace(object).await?;
        Ok(())
    }

    async fn replace_status(&self, kind: &Kind, object: &Value) -> Result<(), WorldError> {
        self.beside(kind, object).replace_subresource(object, "status").await?;
        Ok(())
    }

    async fn finalize(&self, namespace: &Value) -> Result<(), WorldError> {
        self.objects(&Kind::of::<Namespace>(), None).replace_subresource(namespace, "finalize").await?;
        Ok(())
    }

    async fn bind(&self, pod: &Value, node: &str) -> Result<(), WorldError> {
        let key = ObjectKey { namespace: namespace_of(pod), name: text(pod, "name") };
        Ok(Api::<Pod>::of(self.client.clone(), &key).bind(&key.name, &text(pod, "uid"), node).await?)
    }

    async fn delete(&self, kind: &Kind, key: &ObjectKey, deletion: &Deletion) -> Result<(), WorldError> {
        let mut params = DeleteParams::default().uid(deletion.uid.as_str());
        params.grace_period_seconds = deletion.grace_seconds;
        params.preconditions.get_or_insert_default().resource_version = deletion.version.clone();
        match self.objects(kind, key.namespace.as_deref()).delete(&key.name, &params).await {
            Err(error) if error.is_not_found() => Ok(()),
            // Another object has the name: the one that was meant is gone.
            Err(error) if error.is_conflict() && deletion.version.is_none() => Ok(()),
            other => Ok(other?),
        }
    }

    async fn notify(&self, notice: &Notice) {
        let severity = if notice.warning { Severity::Warning } else { Severity::Normal };
        self.recorder.record_dynamic(&notice.kind, &notice.about, severity, &notice.reason, notice.message.clone());
    }
}

fn text(object: &Value, field: &str) -> String {
    object["metadata"][field].as_str().unwrap_or_default().to_owned()
}
