//! Which version of `AppArmorProfile` the API serves, and how its objects are read.

use kube::Client;
use kube::api::{Api, ApiResource, DynamicObject};
use serde_json::Value;

use crate::object::{ApiObject, Feed, GROUP, ObjectId};

/// The versions that can be read; the first that is served is used.
const VERSIONS: [&str; 2] = ["v1", "v1alpha1"];

const PLURAL: &str = "apparmorprofiles";

/// The objects of a feed; nothing where the API does not have this kind.
///
/// # Errors
/// Where the API did not answer.
pub(crate) async fn served(
    client: &Client,
    feed: Feed,
    namespace: &str,
) -> kube::Result<Option<Api<DynamicObject>>> {
    match feed {
        Feed::ConfigMaps => {
            let resource = resource("", "v1", "ConfigMap", "configmaps");
            let client = client.clone();
            Ok(Some(Api::namespaced_with(client, namespace, &resource)))
        }
        Feed::Profiles => {
            for version in VERSIONS {
                if serves(client, version).await? {
                    let resource = resource(GROUP, version, "AppArmorProfile", PLURAL);
                    return Ok(Some(Api::all_with(client.clone(), &resource)));
                }
            }
            Ok(None)
        }
    }
}

async fn serves(client: &Client, version: &str) -> kube::Result<bool> {
    let group = format!("{GROUP}/{version}");
    match client.list_api_group_resources(&group).await {
        Ok(list) => Ok(list.resources.iter().any(|known| known.name == PLURAL)),
        Err(kube::Error::Api(status)) if status.code == 404 => Ok(false),
        Err(e) => Err(e),
    }
}

fn resource(group: &str, version: &str, kind: &str, plural: &str) -> ApiResource {
    let api_version = match group {
        "" => version.to_owned(),
        group => format!("{group}/{version}"),
    };
    ApiResource {
        group: group.to_owned(),
        version: version.to_owned(),
        api_version,
        kind: kind.to_owned(),
        plural: plural.to_owned(),
    }
}

/// Which object it is.
pub(crate) fn id(feed: Feed, object: &DynamicObject) -> ObjectId {
    ObjectId {
        feed,
        namespace: object.metadata.namespace.clone().unwrap_or_default(),
        name: object.metadata.name.clone().unwrap_or_default(),
    }
}

/// What is kept of it; managed fields, annotations and status are not.
pub(crate) fn reduced(feed: Feed, api_version: &str, object: DynamicObject) -> ApiObject {
    let id = id(feed, &object);
    let created = object.metadata.creation_timestamp.as_ref();
    let created = created.map_or(i64::MAX, |time| time.0.as_second());
    let data: Value = object.data;
    match feed {
        Feed::Profiles => ApiObject::profile(id, created, api_version, data),
        Feed::ConfigMaps => ApiObject::config_map(id, created, &data),
    }
}
