//! Which version of `AppArmorProfile` the API serves, what is asked for, and how objects are read.

use std::time::Duration;

use http::Request;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::APIResourceList;
use kube::Client;
use kube::api::{DynamicObject, ListParams, VersionMatch, WatchParams};
use kube::core::request::Error;
use serde_json::Value;

use crate::answers::{Trouble, send, whole};
use crate::object::{ApiObject, Feed, GROUP, LABEL, ObjectId};

/// The versions that can be read; the first that is served is used.
const VERSIONS: [&str; 2] = ["v1", "v1alpha1"];

const PLURAL: &str = "apparmorprofiles";

/// The most bytes in the list of what a version of the group has.
const MAX_RESOURCES: usize = 1024 * 1024;

/// Objects of one kind, as the API has them.
#[derive(Debug, Clone)]
pub(crate) struct Resource {
    feed: Feed,
    path: String,
    api_version: String,
}

/// The objects of a feed; nothing where the API does not have this kind.
///
/// # Errors
/// Where the API did not answer.
pub(crate) async fn served(
    client: &Client,
    feed: Feed,
    namespace: &str,
) -> Result<Option<Resource>, Trouble> {
    match feed {
        Feed::ConfigMaps => Ok(Some(Resource {
            feed,
            path: format!("/api/v1/namespaces/{namespace}/configmaps"),
            api_version: "v1".to_owned(),
        })),
        Feed::Profiles => {
            for version in VERSIONS {
                let api_version = format!("{GROUP}/{version}");
                if serves(client, &api_version).await? {
                    return Ok(Some(Resource {
                        feed,
                        path: format!("/apis/{api_version}/{PLURAL}"),
                        api_version,
                    }));
                }
            }
            Ok(None)
        }
    }
}

async fn serves(client: &Client, api_version: &str) -> Result<bool, Trouble> {
    let request = Request::get(format!("/apis/{api_version}")).body(Vec::new());
    let request = request.map_err(|e| Trouble::Broken(e.to_string()))?;
    let answer = match send(client, request).await {
        Err(Trouble::Refused { code: 404, .. }) => return Ok(false),
        answer => answer?,
    };
    let text = whole(answer, MAX_RESOURCES).await?;
    let list: APIResourceList = serde_json::from_slice(&text).map_err(|e| {
        let why = format!("what it says of {api_version} is not a list of resources: {e}");
        Trouble::Broken(why)
    })?;
    Ok(list.resources.iter().any(|known| known.name == PLURAL))
}

impl Resource {
    fn labels(&self) -> Option<String> {
        (self.feed == Feed::ConfigMaps).then(|| LABEL.to_owned())
    }

    /// Changes since `version`; without one, first all objects, which is a list that is streamed.
    pub(crate) fn watch(
        &self,
        version: Option<&str>,
        time: Duration,
    ) -> Result<Request<Vec<u8>>, Error> {
        let parameters = WatchParams {
            label_selector: self.labels(),
            timeout: u32::try_from(time.as_secs()).ok(),
            send_initial_events: version.is_none(),
            // Without bookmarks, the version of a watch in which nothing happens becomes too old.
            bookmarks: true,
            ..WatchParams::default()
        };
        let request = kube::core::Request::new(self.path.as_str());
        request.watch(&parameters, version.unwrap_or("0"))
    }

    /// All objects, from the cache of the API server, which has no pages. Pages are read from etcd,
    /// and 5,000 nodes may ask at once.
    pub(crate) fn list(&self, next: Option<String>) -> Result<Request<Vec<u8>>, Error> {
        let first = next.is_none();
        let parameters = ListParams {
            label_selector: self.labels(),
            resource_version: first.then(|| "0".to_owned()),
            version_match: first.then_some(VersionMatch::NotOlderThan),
            continue_token: next,
            ..ListParams::default()
        };
        kube::core::Request::new(self.path.as_str()).list(&parameters)
    }

    /// What is kept of an object; managed fields, annotations and status are not.
    pub(crate) fn reduced(&self, object: DynamicObject) -> ApiObject {
        let id = self.id(&object);
        let created = object.metadata.creation_timestamp.as_ref();
        let created = created.map_or(i64::MAX, |time| time.0.as_second());
        let data: Value = object.data;
        match self.feed {
            Feed::Profiles => ApiObject::profile(id, created, &self.api_version, data),
            Feed::ConfigMaps => ApiObject::config_map(id, created, &data),
        }
    }

    /// Which object it is.
    pub(crate) fn id(&self, object: &DynamicObject) -> ObjectId {
        ObjectId {
            feed: self.feed,
            namespace: object.metadata.namespace.clone().unwrap_or_default(),
            name: object.metadata.name.clone().unwrap_or_default(),
        }
    }
}
