//! `nanocloud version`.

use serde_json::json;

use crate::{
    args::{Global, Output},
    connection::Sources,
    context::Context,
    error::Result,
    exit::Exit,
    output,
    request::Request,
};

/// Prints the versions of this program and, when one answers, of the server.
pub async fn run(global: &Global, sources: &dyn Sources, form: Output) -> Result<Exit> {
    let server = match Context::open(global, sources) {
        Ok(context) => context.send(&Request::get("/version")).await.ok().flatten(),
        Err(_) => None,
    };
    let own = env!("CARGO_PKG_VERSION");
    if matches!(form, Output::Json | Output::Yaml) {
        print!("{}", output::document(&json!({"client": own, "server": server}), form)?);
    } else {
        println!("client: {own}");
        let text = server.as_ref().and_then(|server| server["gitVersion"].as_str()).unwrap_or("not reached");
        println!("server: {text}");
    }
    Ok(Exit::Done)
}
