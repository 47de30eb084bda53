//! Endpoints that belong to no stored kind, as rows: what routing, authorisation, discovery and OpenAPI say of each.
//! Pure. The rows themselves are in [`crate::endpoints`].

use std::borrow::Cow;

use api::review::Review;
use http::Method;

/// A field of a request's body.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Field {
    pub(crate) name: &'static str,
    /// Type in the words of JSON schema; an `array` is one of strings.
    pub(crate) kind: &'static str,
    pub(crate) required: bool,
    pub(crate) description: &'static str,
}

impl Field {
    /// A field that must be given.
    pub(crate) const fn required(name: &'static str, kind: &'static str, description: &'static str) -> Self {
        Self { name, kind, required: true, description }
    }

    /// A field that may be left out.
    pub(crate) const fn optional(name: &'static str, kind: &'static str, description: &'static str) -> Self {
        Self { name, kind, required: false, description }
    }
}

/// What a request's body holds.
#[derive(Clone, Debug)]
pub(crate) enum Body {
    /// Nothing, or these fields.
    Fields(Vec<Field>),
    /// A question, which is answered in its own status.
    Review(&'static Review),
}

/// What is asked of authorisation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Access {
    /// The path itself.
    Path,
    /// A resource, with an empty subresource for the resource itself. The parameters `namespace` and `name` of the path
    /// are those of the object.
    Resource { group: &'static str, resource: &'static str, subresource: &'static str },
}

/// How requests for the endpoint are counted and paced.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Load {
    /// A short request, which takes a place among those served at once.
    Short,
    /// Answered even when all places are taken.
    Probe,
    /// A short request whose answer may be read slowly.
    Download,
}

/// A method of a path. Paths have parameters: `{name}` stands for one segment that is not empty.
#[derive(Clone, Debug)]
pub(crate) struct Endpoint {
    pub(crate) method: Method,
    pub(crate) path: Cow<'static, str>,
    pub(crate) access: Access,
    /// OpenAPI's `operationId`.
    pub(crate) operation: Cow<'static, str>,
    /// What it does, for OpenAPI.
    pub(crate) summary: Cow<'static, str>,
    /// Names and types of query parameters.
    pub(crate) query: &'static [(&'static str, &'static str)],
    pub(crate) body: Body,
    /// HTTP code of success.
    pub(crate) success: u16,
    /// Media type of success.
    pub(crate) media_type: &'static str,
    pub(crate) load: Load,
    /// Whether a single-use token is a credential here.
    pub(crate) takes_single_use_token: bool,
}

impl Endpoint {
    fn new(method: Method, path: Cow<'static, str>, access: Access) -> Self {
        Self {
            method,
            path,
            access,
            operation: "".into(),
            summary: "".into(),
            query: &[],
            body: Body::Fields(Vec::new()),
            success: 200,
            media_type: "application/json",
            load: Load::Short,
            takes_single_use_token: false,
        }
    }

    /// An endpoint that is for no resource, such as `/metrics`: read only.
    pub(crate) fn of_path(path: &'static str) -> Self {
        Self::new(Method::GET, path.into(), Access::Path)
    }

    /// An endpoint of a resource.
    pub(crate) fn of_resource(
        method: Method,
        path: impl Into<Cow<'static, str>>,
        (group, resource, subresource): (&'static str, &'static str, &'static str),
    ) -> Self {
        Self::new(method, path.into(), Access::Resource { group, resource, subresource })
    }

    /// The endpoint where a review is asked.
    pub(crate) fn of_review(review: &'static Review) -> Self {
        let Review { group, version, plural, kind, .. } = review;
        let access = Access::Resource { group, resource: plural, subresource: "" };
        Self {
            operation: format!("post{kind}").into(),
            summary: format!("Answers a {kind}; nothing is stored.").into(),
            body: Body::Review(review),
            success: 201,
            ..Self::new(Method::POST, format!("/apis/{group}/{version}/{plural}").into(), access)
        }
    }

    /// Names and describes the operation.
    pub(crate) fn does(mut self, operation: &'static str, summary: &'static str) -> Self {
        (self.operation, self.summary) = (operation.into(), summary.into());
        self
    }

    pub(crate) fn query(mut self, query: &'static [(&'static str, &'static str)]) -> Self {
        self.query = query;
        self
    }

    pub(crate) fn fields<const N: usize>(mut self, fields: [Field; N]) -> Self {
        self.body = Body::Fields(fields.into());
        self
    }

    /// Success is answered with another code or media type than 200 and JSON.
    pub(crate) fn answers(mut self, success: u16, media_type: &'static str) -> Self {
        (self.success, self.media_type) = (success, media_type);
        self
    }

    pub(crate) fn load(mut self, load: Load) -> Self {
        self.load = load;
        self
    }

    pub(crate) fn takes_single_use_token(mut self) -> Self {
        self.takes_single_use_token = true;
        self
    }

    /// The verb in the words of authorisation.
    pub(crate) fn verb(&self) -> &'static str {
        verb(&self.method)
    }

    /// Whether the path has parameters.
    pub(crate) fn is_pattern(&self) -> bool {
        self.path.contains('{')
    }

    /// Names of the path's parameters.
    pub(crate) fn parameters(&self) -> impl Iterator<Item = &str> {
        segments(&self.path).filter_map(parameter)
    }

    /// Whether the path is this one.
    fn matches(&self, path: &[&str]) -> bool {
        let mut wanted = segments(&self.path);
        let mut fits = |part: &&str| match wanted.next() {
            Some(segment) => segment == *part || (parameter(segment).is_some() && !part.is_empty()),
            None => false,
        };
        path.iter().all(&mut fits) && wanted.next().is_none()
    }

    /// The values of the parameters of a path that matches.
    fn params(&self, path: &[&str]) -> Params {
        let pairs = segments(&self.path).zip(path);
        Params(pairs.filter_map(|(segment, part)| Some((parameter(segment)?.to_owned(), (*part).to_owned()))).collect())
    }
}

fn segments(path: &str) -> impl Iterator<Item = &str> {
    path.split('/').filter(|segment| !segment.is_empty())
}

fn parameter(segment: &str) -> Option<&str> {
    segment.strip_prefix('{')?.strip_suffix('}')
}

/// The verb of a method on one object, in the words of authorisation.
pub(crate) fn verb(method: &Method) -> &'static str {
    match method.as_str() {
        "GET" => "get",
        "HEAD" => "head",
        "POST" => "create",
        "PUT" => "update",
        "PATCH" => "patch",
        "DELETE" => "delete",
        _ => "other",
    }
}

/// The values of a path's parameters.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Params(Vec<(String, String)>);

impl Params {
    /// The value of a parameter, empty when the path has none of that name.
    pub(crate) fn get(&self, name: &str) -> &str {
        self.0.iter().find(|(known, _)| known == name).map_or("", |(_, value)| value)
    }
}

/// All rows.
#[derive(Clone, Debug)]
pub(crate) struct Endpoints(Vec<Endpoint>);

/// A row that a path leads to.
#[derive(Clone, Debug)]
pub(crate) struct Found<'a> {
    pub(crate) endpoint: &'a Endpoint,
    /// Its place among the rows.
    pub(crate) index: usize,
    pub(crate) params: Params,
}

impl Endpoints {
    pub(crate) fn new(rows: Vec<Endpoint>) -> Self {
        Self(rows)
    }

    /// Every row.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &Endpoint> {
        self.0.iter()
    }

    /// The row for segments of a path, whose method is the one given if one is.
    pub(crate) fn find(&self, path: &[&str], method: Option<&Method>) -> Option<Found<'_>> {
        let mut rows = self.0.iter().enumerate();
        let wanted = |row: &Endpoint| method.is_none_or(|method| row.method == method) && row.matches(path);
        let (index, endpoint) = rows.find(|(_, row)| wanted(row))?;
        Some(Found { endpoint, index, params: endpoint.params(path) })
    }

    /// The methods of a row's path.
    pub(crate) fn methods(&self, row: &Endpoint) -> Vec<Method> {
        self.0.iter().filter(|other| other.path == row.path).map(|other| other.method.clone()).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_leads_to_one_row_and_its_parameters() {
        let rows = Endpoints::new(vec![
            Endpoint::of_path("/"),
            Endpoint::of_path("/apis/{group}"),
            Endpoint::of_resource(Method::POST, "/apis/g/v1/members/{name}/lead", ("g", "members", "lead")),
            Endpoint::of_resource(Method::GET, "/apis/g/v1/alarms", ("g", "alarms", "")),
            Endpoint::of_resource(Method::DELETE, "/apis/g/v1/alarms", ("g", "alarms", "")),
        ]);
        let find = |method: &Method, path: &str| {
            let parts: Vec<&str> = path.trim_end_matches('/').split('/').skip(1).collect();
            rows.find(&parts, Some(method)).map(|found| (found.index, found.params.get("name").to_owned()))
        };
        assert_eq!(find(&Method::GET, "/"), Some((0, String::new())));
        assert_eq!(find(&Method::GET, "/apis/apps"), Some((1, String::new())));
        assert_eq!(find(&Method::GET, "/apis//"), None);
        assert_eq!(find(&Method::GET, "/apis/apps/v1"), None);
        assert_eq!(find(&Method::POST, "/apis/g/v1/members/a/lead"), Some((2, "a".to_owned())));
        assert_eq!(find(&Method::POST, "/apis/g/v1/members//lead"), None);
        assert_eq!(find(&Method::DELETE, "/apis/g/v1/alarms"), Some((4, String::new())));
        assert_eq!(find(&Method::PUT, "/apis/g/v1/alarms"), None);
        assert_eq!(rows.methods(rows.iter().nth(3).unwrap()), [Method::GET, Method::DELETE]);
    }
}
