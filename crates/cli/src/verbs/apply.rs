//! `nanocloud apply` and `delete`: objects of YAML or JSON files.

use std::{io::Read, path::Path};

use api::{Kind, Kinds, Reason, Status};
use client::{DeleteParams, DynamicApi};
use serde::Deserialize;
use serde_json::Value;

use super::{apply_set::ApplySet, get::find};
use crate::{
    args::{Apply, Delete, Namespace},
    context::{Context, unless_rehearsed},
    error::{Error, Result},
    exit::Exit,
    outln,
    output::name,
    request::{APPLY_PATCH, MERGE_PATCH, Request},
};

/// Largest file that is read.
const FILE_MAX_BYTES: u64 = 16 * 1024 * 1024;

/// Creates the objects of a file, or updates those that exist.
pub async fn apply(context: &Context<'_>, args: &Apply) -> Result<Exit> {
    let mut set = args.apply_set.as_deref().map(ApplySet::new).transpose()?;
    for (kind, mut object) in read(context, &args.filename).await? {
        let namespace = namespace(context, &object, &args.namespace);
        if let Some(set) = &mut set {
            set.add(&kind, &namespace, &mut object);
        }
        let target = client::Target::of_kind(&kind, Some(&namespace));
        let done = match args.server_side {
            true => unless_rehearsed(context.send(&server_side(&target, &object, args)).await)?.map(|_| "applied"),
            false => merge(context, &target, &object, args).await?,
        };
        if let Some(done) = done {
            let dry = if args.dry_run { " (dry run)" } else { "" };
            outln!("{}/{} {done}{dry}", kind.resource(), name(&object))?;
        }
    }
    match set {
        // Last, so that a rejected file deletes nothing.
        Some(set) if !context.global.curl => set.prune(context).await?,
        _ => {}
    }
    Ok(Exit::Done)
}

/// Server-side apply: the server merges and records the owner of each field.
fn server_side(target: &client::Target, object: &Value, args: &Apply) -> Request {
    let mut request = Request::new("PATCH", target.object(name(object))).body(object.clone());
    request.content_type = APPLY_PATCH;
    let request = request.query("fieldManager", &args.field_manager).flag("force", args.force_conflicts);
    if args.dry_run { request.query("dryRun", "All") } else { request }
}

/// Updates the given fields, or creates the object.
async fn merge(
    context: &Context<'_>,
    target: &client::Target,
    object: &Value,
    args: &Apply,
) -> Result<Option<&'static str>> {
    let dry = |request: Request| if args.dry_run { request.query("dryRun", "All") } else { request };
    let mut request = Request::new("PATCH", target.object(name(object))).body(object.clone());
    request.content_type = MERGE_PATCH;
    match context.send(&dry(request)).await {
        Err(Error::Request(error)) if error.is_not_found() => {
            let request = dry(Request::post(target.collection(), object.clone()));
            Ok(Some(context.send(&request).await.map(|_| "created")?))
        }
        other => Ok(unless_rehearsed(other)?.map(|_| "configured")),
    }
}

/// Deletes objects by name or by file.
pub async fn delete(context: &Context<'_>, args: &Delete) -> Result<Exit> {
    let mut all = Vec::new();
    if let Some(file) = &args.filename {
        for (kind, object) in read(context, file).await? {
            all.push((kind, namespace(context, &object, &args.namespace), name(&object).to_owned()));
        }
    } else {
        let words = args.kind.iter().chain(&args.names);
        let (words, namespace) = (words.map(String::as_str).collect::<Vec<_>>(), context.namespace(&args.namespace));
        let kinds = context.kinds(|kinds| named(kinds, &words, &namespace).is_ok()).await;
        all = named(&kinds, &words, &namespace)?;
    }
    for (kind, namespace, name) in all {
        let api = DynamicApi::new(context.client.clone(), &kind, Some(&namespace));
        match api.delete(&name, &DeleteParams::default()).await {
            Err(error) if error.is_not_found() && args.ignore_not_found => {}
            deleted => {
                if unless_rehearsed(deleted)?.is_some() {
                    outln!("{}/{name} deleted", kind.resource())?;
                }
            }
        }
    }
    Ok(Exit::Done)
}

/// `KIND NAME...` or `KIND/NAME...`.
fn named(kinds: &Kinds, words: &[&str], namespace: &str) -> Result<Vec<(Kind, String, String)>> {
    let each = |kind: &str, name: &str| Ok((find(kinds, kind)?.clone(), namespace.to_owned(), name.to_owned()));
    match words.split_first() {
        Some((kind, names)) if !kind.contains('/') && !names.is_empty() => {
            names.iter().map(|name| each(kind, name)).collect()
        }
        Some((first, _)) if first.contains('/') => {
            let pairs = words.iter().map(|word| word.split_once('/').ok_or(word));
            pairs.map(|pair| pair.map_or_else(|word| Err(missing(word)), |(kind, name)| each(kind, name))).collect()
        }
        _ => Err(missing(words.first().copied().unwrap_or_default())),
    }
}

fn missing(word: &str) -> Error {
    Error::usage("NAME", format!("{word:?} does not name an object"), "write KIND NAME or KIND/NAME")
}

/// The namespace of the object, or that of the command.
fn namespace(context: &Context<'_>, object: &Value, flag: &Namespace) -> String {
    let own = object["metadata"]["namespace"].as_str().map(str::to_owned);
    own.unwrap_or_else(|| context.namespace(flag))
}

/// The objects of a file; `-` is standard input.
async fn read(context: &Context<'_>, path: &Path) -> Result<Vec<(Kind, Value)>> {
    let fail = |error| Error::unreadable("--filename", path, &error);
    let mut text = String::new();
    if path == Path::new("-") {
        std::io::stdin().take(FILE_MAX_BYTES).read_to_string(&mut text).map_err(fail)?;
    } else {
        std::fs::File::open(path).and_then(|file| file.take(FILE_MAX_BYTES).read_to_string(&mut text)).map_err(fail)?;
    }
    let source = path.display().to_string();
    let kinds = context.kinds(|kinds| parse(kinds, &text, &source).is_ok()).await;
    let objects = parse(&kinds, &text, &source)?;
    if objects.is_empty() {
        return Err(Error::usage("--filename", format!("{} holds no objects", path.display()), "name another file"));
    }
    Ok(objects)
}

/// The objects of a text: YAML documents (JSON is YAML), and lists of objects.
fn parse(kinds: &Kinds, text: &str, source: &str) -> Result<Vec<(Kind, Value)>> {
    let broken = |message: String| Error::usage(source, message, "correct the file and apply it again");
    let mut objects = Vec::new();
    for document in api::yaml::documents(text).map_err(|error| broken(error.to_string()))? {
        match document.get("items").map(Vec::<Value>::deserialize) {
            Some(Ok(items)) if document["kind"].as_str().is_some_and(|kind| kind.ends_with("List")) => {
                objects.extend(items)
            }
            _ => objects.push(document),
        }
    }
    let typed = |object: Value| {
        let (version, word) =
            (object["apiVersion"].as_str().unwrap_or_default(), object["kind"].as_str().unwrap_or_default());
        let kind = kinds.iter().find(|kind| kind.kind() == word && kind.api_version() == version);
        if word.is_empty() || version.is_empty() {
            return Err(broken(format!("object {:?} lacks apiVersion or kind", name(&object))));
        }
        let kind = kind
            .ok_or_else(|| broken(format!("there is no kind {word:?} in {version:?} (object {:?})", name(&object))))?;
        if name(&object).is_empty() {
            return Err(Error::Request(
                Status::failure(Reason::BadRequest, format!("a {word} in {source} has no metadata.name")).into(),
            ));
        }
        Ok((kind.clone(), object))
    };
    objects.into_iter().map(typed).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn documents_and_lists_are_read() {
        let text = "
apiVersion: v1
kind: ConfigMap
metadata: {name: a}
---
apiVersion: v1
kind: List
items:
- {apiVersion: nanocloud.io/v1, kind: Bundle, metadata: {name: b}, spec: {service: redis}}
";
        let found: Vec<_> = parse(&Kinds::builtin(), text, "x")
            .unwrap()
            .iter()
            .map(|(kind, object)| format!("{}/{}", kind.plural(), name(object)))
            .collect();
        assert_eq!(found, ["configmaps/a", "bundles/b"]);
    }

    #[test]
    fn server_side_apply_names_the_manager() {
        let object = serde_json::json!({"metadata": {"name": "a"}});
        let kinds = Kinds::builtin();
        let kind = find(&kinds, "configmap").unwrap();
        let args = Apply {
            filename: "-".into(),
            namespace: Namespace { namespace: None },
            dry_run: true,
            server_side: true,
            field_manager: "nix".into(),
            force_conflicts: false,
            apply_set: None,
        };
        let request = server_side(&client::Target::of_kind(kind, Some("n")), &object, &args);
        assert_eq!(request.target(), "/api/v1/namespaces/n/configmaps/a?fieldManager=nix&dryRun=All");
        assert_eq!((request.method, request.content_type), ("PATCH", APPLY_PATCH));
    }

    #[test]
    fn what_is_wrong_is_named() {
        let error =
            parse(&Kinds::builtin(), "{apiVersion: v1, kind: Widget, metadata: {name: w}}", "f.yaml").unwrap_err();
        assert!(error.report().contains(r#"f.yaml: there is no kind "Widget" in "v1""#), "{}", error.report());
        assert!(
            parse(&Kinds::builtin(), "{apiVersion: v1, kind: ConfigMap}", "f")
                .unwrap_err()
                .report()
                .contains("no metadata.name")
        );
        assert!(parse(&Kinds::builtin(), ": : :", "f").is_err());
    }

    #[test]
    fn names_are_given_after_the_kind_or_with_it() {
        let names = |words: Vec<&str>| {
            named(&Kinds::builtin(), &words, "n").map(|all| {
                all.into_iter().map(|(kind, _, name)| format!("{}/{name}", kind.plural())).collect::<Vec<_>>()
            })
        };
        assert_eq!(names(vec!["pod", "a", "b"]).unwrap(), ["pods/a", "pods/b"]);
        assert_eq!(names(vec!["po/a", "cm/b"]).unwrap(), ["pods/a", "configmaps/b"]);
        assert!(names(vec!["pod"]).is_err() && names(vec!["po/a", "b"]).is_err());
    }
}
