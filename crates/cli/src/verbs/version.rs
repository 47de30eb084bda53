//! `nanocloud version`.

use serde_json::json;

use crate::{
    args::{Global, Output},
    connection::Sources,
    context::Context,
    error::{Error, Result},
    exit::Exit,
    out, outln, output,
    request::Request,
};

/// Prints the version of this program, and of the server if it answers.
pub async fn run(global: &Global, sources: &dyn Sources, form: Output) -> Result<Exit> {
    let server = match Context::open(global, sources) {
        Ok(context) => match context.send(&Request::get("/version")).await {
            Err(error @ Error::Request(client::Error::NotSent { .. })) => return Err(error),
            answer => answer.ok(),
        },
        Err(_) => None,
    };
    let own = env!("CARGO_PKG_VERSION");
    if matches!(form, Output::Json | Output::Yaml) {
        out!("{}", output::document(&json!({"client": own, "server": server}), form)?)?;
    } else {
        let text = server.as_ref().and_then(|server| server["gitVersion"].as_str()).unwrap_or("not reached");
        outln!("client: {own}\nserver: {text}")?;
    }
    Ok(Exit::Done)
}
