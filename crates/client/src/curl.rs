//! The command that does with curl what the client would do.

use bytes::Bytes;
use http::{Method, Request, header};

/// Prints a request as a command for a POSIX shell.
///
/// Secrets stay out of the arguments: the body comes on standard input, and the credential is named
/// by the environment variables `NANOCLOUD_CA`, `NANOCLOUD_CERT` and `NANOCLOUD_KEY` (files) or
/// `NANOCLOUD_TOKEN_FILE` (a file with the line `Authorization: Bearer TOKEN`).
pub fn command(server: &str, request: &Request<Bytes>, bearer: bool) -> String {
    let credential =
        if bearer { r#"-H "@$NANOCLOUD_TOKEN_FILE""# } else { r#"--cert "$NANOCLOUD_CERT" --key "$NANOCLOUD_KEY""# };
    let mut words = vec![format!(r#"curl --fail-with-body -sS --cacert "$NANOCLOUD_CA" {credential}"#)];
    if request.method() != Method::GET {
        words.push(format!("-X {}", request.method()));
    }
    if let Some(media) = request.headers().get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()) {
        words.push(format!("-H {}", quote(&format!("Content-Type: {media}"))));
    }
    if !request.body().is_empty() {
        words.push("--data-binary @-".into());
    }
    words.push(quote(&format!("{}{}", server.trim_end_matches('/'), request.uri())));
    let command = words.join(" \\\n  ");
    if request.body().is_empty() { command } else { with_input(&command, &String::from_utf8_lossy(request.body())) }
}

/// The command with text on its standard input: there it is in no list of processes.
fn with_input(command: &str, text: &str) -> String {
    let mut mark = "END".to_owned();
    while text.lines().any(|line| line == mark) {
        mark.push('_');
    }
    format!("{command} <<'{mark}'\n{text}\n{mark}")
}

/// One word of a POSIX shell.
fn quote(text: &str) -> String {
    format!("'{}'", text.replace('\'', r"'\''"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_shell_reads_back_what_was_meant() {
        let body = Bytes::from_static(b"END\n{\"a\":\"it's $HOME\"}");
        let request = Request::post("/x?a=b&c=d").header("content-type", "application/json").body(body).unwrap();
        let text = command("https://h:1/", &request, false);
        let script = format!(
            "curl() {{ printf '%s\\n' \"$@\"; cat; }}\nNANOCLOUD_CA=ca NANOCLOUD_CERT=c NANOCLOUD_KEY=k\n{text}"
        );
        let output = run(&script);
        let words: Vec<_> = output.lines().collect();
        assert_eq!(
            words,
            [
                "--fail-with-body",
                "-sS",
                "--cacert",
                "ca",
                "--cert",
                "c",
                "--key",
                "k",
                "-X",
                "POST",
                "-H",
                "Content-Type: application/json",
                "--data-binary",
                "@-",
                "https://h:1/x?a=b&c=d",
                "END",
                r#"{"a":"it's $HOME"}"#
            ]
        );
    }

    fn run(script: &str) -> String {
        let output = std::process::Command::new("sh").arg("-c").arg(script).output().unwrap();
        String::from_utf8(output.stdout).unwrap()
    }
}
