//! The command that does with curl what the client would do.

use bytes::Bytes;
use http::{Method, Request, header};

/// Prints a request as a command for a POSIX shell.
///
/// Secrets stay out of the arguments: the body comes on standard input, and the credential is named
/// by the environment variables `NANOCLOUD_CA`, `NANOCLOUD_CERT` and `NANOCLOUD_KEY` (files) or
/// `NANOCLOUD_TOKEN_FILE` (a file with the token), which curl reads on descriptor 3.
pub fn command(server: &str, request: &Request<Bytes>, bearer: bool) -> String {
    let credential = if bearer { "-K /dev/fd/3" } else { r#"--cert "$NANOCLOUD_CERT" --key "$NANOCLOUD_KEY""# };
    let mut words = vec![format!(r#"curl --fail-with-body -sS --cacert "$NANOCLOUD_CA" {credential}"#)];
    if request.method() != Method::GET {
        words.push(format!("-X {}", request.method()));
    }
    if let Some(media) = request.headers().get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()) {
        words.push(format!("-H {}", quote(&format!("Content-Type: {media}"))));
    }
    if request.headers().contains_key(header::UPGRADE) {
        // The answer is a stream, which only HTTP/1.1 opens.
        words.push("--http1.1 --no-buffer".into());
        let texts = request.headers().iter().filter_map(|(name, value)| Some((name, value.to_str().ok()?)));
        words.extend(texts.map(|(name, value)| format!("-H {}", quote(&format!("{name}: {value}")))));
    }
    if !request.body().is_empty() {
        words.push("--data-binary @-".into());
    }
    words.push(quote(&format!("{}{}", server.trim_end_matches('/'), request.uri())));
    let mut command = words.join(" \\\n  ");
    let mut inputs = String::new();
    if bearer {
        command.push_str(" 3<<TOKEN");
        inputs.push_str(TOKEN);
    }
    if !request.body().is_empty() {
        let text = String::from_utf8_lossy(request.body());
        let mut mark = "END".to_owned();
        while text.lines().any(|line| line == mark) {
            mark.push('_');
        }
        command.push_str(&format!(" <<'{mark}'"));
        inputs.push_str(&format!("\n{text}\n{mark}"));
    }
    command + &inputs
}

/// A line of curl's configuration, written by the shell: so the token is in no list of processes.
const TOKEN: &str = r#"
header = "Authorization: Bearer $(cat "$NANOCLOUD_TOKEN_FILE")"
TOKEN"#;

/// One word of a POSIX shell.
fn quote(text: &str) -> String {
    format!("'{}'", text.replace('\'', r"'\''"))
}

#[cfg(test)]
#[expect(clippy::disallowed_methods, reason = "tests start programs and tasks, and end them")]
mod tests {
    use super::*;

    #[test]
    fn a_session_is_opened_by_its_headers() {
        let request = Request::get("/x").header("upgrade", "websocket").header("connection", "Upgrade");
        let text = command("https://h:1", &request.body(Bytes::new()).unwrap(), false);
        assert!(text.contains("--http1.1") && text.contains("-H 'upgrade: websocket'"), "{text}");
    }

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

    #[test]
    fn the_token_is_read_from_its_file_and_is_no_argument() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("token");
        std::fs::write(&file, "secret-token\n").unwrap();
        let body = Bytes::from_static(b"{}");
        let request = Request::post("/x").header("content-type", "application/json").body(body).unwrap();
        let text = command("https://h:1", &request, true);
        let script = format!(
            "curl() {{ echo \"$@\"; cat /dev/fd/3 -; }}\nNANOCLOUD_CA=ca NANOCLOUD_TOKEN_FILE={}\n{text}",
            file.display()
        );
        let output = run(&script);
        let mut lines = output.lines();
        assert!(!lines.next().unwrap().contains("secret-token"), "{output}");
        assert_eq!(lines.collect::<Vec<_>>(), ["header = \"Authorization: Bearer secret-token\"", "{}"]);
    }

    fn run(script: &str) -> String {
        let output = std::process::Command::new("sh").arg("-c").arg(script).output().unwrap();
        String::from_utf8(output.stdout).unwrap()
    }
}
