//! `nanocloud member`: the members of the cluster.

use secrecy::{ExposeSecret, SecretString};
use serde_json::{Value, json};
use trust::{JoinToken, subject::JOINING};

use crate::{
    args::{MemberAction, Output},
    context::Context,
    error::{Error, Result},
    exit::Exit,
    note, out, outln,
    output::{self, Table, cell},
    request::Request,
};

const MEMBERS: &str = "/apis/nanocloud.io/v1/members";

/// Runs one of the subcommands.
pub async fn run(context: &Context<'_>, action: &MemberAction) -> Result<Exit> {
    match action {
        MemberAction::List { output } => show(context, MEMBERS.to_owned(), *output, list).await,
        MemberAction::Status { output } => show(context, format!("{MEMBERS}/status"), *output, status).await,
        MemberAction::Add { ttl, output } => add(context, *ttl, *output).await,
        MemberAction::Promote { member } => change(context, member, "promote", json!({}), "is a voter").await,
        MemberAction::Remove { member, force } => {
            change(context, member, "remove", json!({"force": force}), "is removed").await
        }
        MemberAction::Lead { member } => change(context, member, "lead", json!({}), "is the leader").await,
    }
}

async fn show(context: &Context<'_>, path: String, output: Output, table: fn(&Value) -> String) -> Result<Exit> {
    let answer = context.send(&Request::get(path)).await?;
    match output {
        Output::Json | Output::Yaml => out!("{}", output::document(&answer, output)?)?,
        Output::Name => items(&answer).try_for_each(|member| outln!("{}", cell(&member["name"])))?,
        Output::Table | Output::Wide => out!("{}", table(&answer))?,
    }
    Ok(Exit::Done)
}

fn items(answer: &Value) -> impl Iterator<Item = &Value> {
    answer["items"].as_array().into_iter().flatten()
}

fn list(answer: &Value) -> String {
    let mut table = Table::new(["id", "name", "role", "leads", "reachable", "peer address", "api"]);
    for member in items(answer) {
        let word = |field: &str| cell(&member[field]);
        let yes = |field: &str| if member[field] == json!(true) { "yes" } else { "no" }.to_owned();
        let (leads, reachable) = (yes("is the leader"), yes("reachable"));
        table.row([word("id"), word("name"), word("role"), leads, reachable, word("peerAddress"), word("apiUrl")]);
    }
    table.render()
}

fn status(answer: &Value) -> String {
    let mut table = Table::new(["member", "leader", "term", "log", "applied", "revision", "leases", "bytes"]);
    let status = &answer["status"];
    let word = |field: &str| cell(&status[field]);
    let rest = ["term", "lastIndex", "appliedIndex", "revision", "leases", "sizeBytes"].map(word);
    table.row([word("member"), cell(&answer["leader"])].into_iter().chain(rest));
    table.render()
}

async fn change(context: &Context<'_>, member: &str, action: &str, body: Value, done: &str) -> Result<Exit> {
    if member.contains('/') || member.is_empty() {
        let remedy = "see `nanocloud member list`";
        return Err(Error::usage("member", format!("{member:?} is not a name or id"), remedy));
    }
    context.send(&Request::post(format!("{MEMBERS}/{member}/{action}"), body)).await?;
    outln!("{member} {done}; see `nanocloud member list`")?;
    Ok(Exit::Done)
}

/// Issues a token for one server, and prints a join token, which also contains the servers and the CA.
async fn add(context: &Context<'_>, ttl: std::time::Duration, output: Output) -> Result<Exit> {
    let body = json!({"user": JOINING, "ttlSeconds": ttl.as_secs()});
    let issued = context.send(&Request::post("/apis/nanocloud.io/v1/tokens/issue", body)).await?;
    let members = context.send(&Request::get(MEMBERS)).await?;
    let mut servers: Vec<String> =
        items(&members).map(|member| cell(&member["apiUrl"])).filter(|url| !url.is_empty()).collect();
    if servers.is_empty() {
        servers.push(context.client.server().to_string());
    }
    let token: SecretString = cell(&issued["token"]).into();
    let ca = context.client.config().map(|config| config.ca.clone()).unwrap_or_default();
    let broken = |error: trust::Error| Error::io("make the join token", std::io::Error::other(error));
    let word = JoinToken::new(servers, &ca, &token).and_then(|token| token.reveal()).map_err(broken)?;
    if matches!(output, Output::Json | Output::Yaml) {
        let document = json!({"join": word.expose_secret(), "expiresAt": issued["expiresAt"]});
        out!("{}", output::document(&document, output)?)?;
        return Ok(Exit::Done);
    }
    outln!("{}", word.expose_secret())?;
    note!(
        "valid once, until {}; on the new server: write it to a file, then\n\
         nanocloud server --join-file FILE --listen ADDRESS:PORT --peer-listen ADDRESS:PORT",
        issued["expiresAt"].as_str().unwrap_or("?")
    );
    Ok(Exit::Done)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn members_are_shown_as_columns() {
        let answer = json!({"leader": "1", "items": [
            {"id": "1", "name": "a", "role": "Voter", "leads": true, "reachable": true, "peerAddress": "a:1", "apiUrl": ""},
            {"id": "2f", "name": "b", "role": "Learner", "leads": false, "reachable": false, "peerAddress": "b:1", "apiUrl": ""},
        ], "status": {"member": "1", "term": 3, "lastIndex": 9, "appliedIndex": 9, "revision": 7, "leases": 0, "sizeBytes": 1}});
        let text = list(&answer);
        assert_eq!(text.lines().count(), 3);
        assert!(text.contains("2f   b      Learner   no      no"), "{text}");
        assert!(
            status(&answer).ends_with("1        1        3      9     9         7          0        1\n"),
            "{}",
            status(&answer)
        );
    }
}
