//! Why commands fail. A report is a line that names the field and the problem, and a line with the remedy.

use std::{fmt::Write as _, io, path::Path};

use api::{Reason, Status};

use crate::exit::Exit;

/// Result of a command.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Why a command failed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The server rejected the request, or could not be reached.
    #[error(transparent)]
    Request(#[from] client::Error),
    /// A flag, variable or file is wrong.
    #[error("{field}: {message}")]
    Usage {
        /// Flag, variable, or path in a file.
        field: String,
        /// What is wrong.
        message: String,
        /// What to do.
        remedy: String,
    },
    /// The operation that the command waited for failed.
    #[error("{what}")]
    Outcome {
        /// What failed, with the reason that the server gave.
        what: String,
        /// What to do.
        remedy: String,
        /// The code to end with.
        exit: Exit,
    },
    /// The output of the command cannot be written.
    #[error("cannot write to standard output")]
    Output(#[source] io::Error),
    /// A file or terminal cannot be read or written.
    #[error("cannot {action}")]
    Io {
        /// What was tried, with the path.
        action: String,
        /// Why not.
        #[source]
        source: io::Error,
    },
    /// Credentials of this machine cannot be used.
    #[error("cannot {action}")]
    Local {
        /// What was tried.
        action: &'static str,
        /// Why not.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
        /// What to do.
        remedy: String,
    },
}

impl Error {
    /// A wrong flag, variable or file.
    pub fn usage(field: impl Into<String>, message: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self::Usage { field: field.into(), message: message.into(), remedy: remedy.into() }
    }

    /// An operation on a file or terminal that failed.
    pub fn io(action: impl Into<String>, source: io::Error) -> Self {
        Self::Io { action: action.into(), source }
    }

    /// A file given by the user that cannot be read.
    pub fn unreadable(field: impl Into<String>, path: &Path, error: &io::Error) -> Self {
        Self::usage(field, format!("{}: {error}", path.display()), "name a file that you may read")
    }

    /// The code the process ends with.
    pub fn exit(&self) -> Exit {
        match self {
            Self::Usage { .. } => Exit::Usage,
            Self::Outcome { exit, .. } => *exit,
            Self::Output(_) => Exit::Failed,
            Self::Io { source, .. } => io_exit(source),
            Self::Local { .. } => Exit::Permission,
            Self::Request(error) => match error {
                client::Error::Api(status) if matches!(status.class(), Reason::Unauthorized | Reason::Forbidden) => {
                    Exit::Permission
                }
                client::Error::Api(_) => Exit::Failed,
                client::Error::Config { .. } => Exit::Usage,
                client::Error::Transport { source, .. } if is_tls(source.as_ref()) => Exit::Trust,
                _ => Exit::Fatal,
            },
        }
    }

    /// What to do about it.
    pub fn remedy(&self) -> String {
        match self {
            Self::Usage { remedy, .. } | Self::Outcome { remedy, .. } | Self::Local { remedy, .. } => remedy.clone(),
            Self::Output(_) => "free space where the output is written, or redirect it elsewhere".into(),
            Self::Io { .. } => "check the path, its permissions and the free space".into(),
            Self::Request(error) => match error {
                client::Error::Api(status) => status_remedy(status),
                client::Error::Transport { source, .. } if is_tls(source.as_ref()) => {
                    "check this machine's clock (`date -u`) and that the CA belongs to this server (`nanocloud config`)"
                        .into()
                }
                client::Error::Transport { .. } | client::Error::Timeout { .. } => {
                    "start the server with `nanocloud server`, or name another with --server".into()
                }
                client::Error::Config { .. } => {
                    "correct the kubeconfig, or the files of --ca and --token-file; `nanocloud config` makes a new kubeconfig".into()
                }
                _ => String::new(),
            },
        }
    }

    /// The message: the problem, a line for each field, and the remedy.
    pub fn report(&self) -> String {
        let mut text = format!("error: {}", self.headline());
        let causes = std::iter::successors(std::error::Error::source(self), |error| error.source());
        match self {
            // The status of a rejected request is already in the headline.
            Self::Request(client::Error::Api(_)) => {}
            // Only the root cause is of interest; those in between come from layers of libraries.
            Self::Request(client::Error::Transport { .. }) => {
                text.extend(causes.last().map(|cause| format!(": {cause}")));
            }
            _ => text.extend(causes.map(|cause| format!(": {cause}"))),
        }
        if let Self::Request(client::Error::Api(status)) = self {
            for cause in status.details.iter().flat_map(|details| &details.causes) {
                let _ = write!(text, "\n  {}: {}", cause.field, cause.message);
            }
        }
        let remedy = self.remedy();
        if !remedy.is_empty() {
            let _ = write!(text, "\nremedy: {remedy}");
        }
        text
    }

    fn headline(&self) -> String {
        let Self::Request(client::Error::Api(status)) = self else { return self.to_string() };
        let details = status.details.as_ref();
        match details.filter(|details| !details.causes.is_empty()) {
            Some(details) if !details.name.is_empty() => format!("{} {:?} was rejected", details.kind, details.name),
            Some(_) => "the request was rejected".into(),
            None => status.to_string(),
        }
    }
}

fn io_exit(error: &io::Error) -> Exit {
    match error.kind() {
        io::ErrorKind::PermissionDenied => Exit::Permission,
        io::ErrorKind::StorageFull | io::ErrorKind::ReadOnlyFilesystem | io::ErrorKind::QuotaExceeded => Exit::Storage,
        _ => Exit::Fatal,
    }
}

/// Whether TLS failed, judged by the type of the source and not by its text.
fn is_tls(error: &(dyn std::error::Error + 'static)) -> bool {
    let mut next = Some(error);
    while let Some(error) = next {
        if error.is::<rustls::Error>() {
            return true;
        }
        // `source` does not return the error inside an io::Error.
        if let Some(inner) = error.downcast_ref::<io::Error>().and_then(io::Error::get_ref)
            && is_tls(inner)
        {
            return true;
        }
        next = error.source();
    }
    false
}

fn status_remedy(status: &Status) -> String {
    if !status.remedy.is_empty() {
        return status.remedy.clone();
    }
    match status.class() {
        Reason::Unauthorized => "get credentials: `sudo nanocloud config | sh` on the server, or --token".into(),
        Reason::Forbidden => "use credentials with more rights: `nanocloud token --help`".into(),
        Reason::NotFound => "see what there is: `nanocloud get all -A`".into(),
        Reason::TooManyRequests | Reason::ServiceUnavailable => "try again in a moment".into(),
        _ => String::new(),
    }
}

#[cfg(test)]
mod tests {
    use api::FieldError;

    use super::*;

    #[test]
    fn every_field_has_its_line_and_the_remedy_is_last() {
        let errors =
            [FieldError::unknown("spec.options.datbase"), FieldError::not_supported("spec.options.x", "a or b")];
        let status = Status::invalid("bundles.nanocloud.io", "web", &errors).with_remedy("see the options");
        let error = Error::Request(client::Error::from(status));
        assert_eq!(
            error.report(),
            "error: bundles \"web\" was rejected\n  spec.options.datbase: unknown field\n  spec.options.x: a or b\nremedy: see the options"
        );
        assert_eq!(error.exit(), Exit::Failed);
    }

    #[test]
    fn tls_trouble_is_found_below_other_errors() {
        let tls = io::Error::other(rustls::Error::InvalidCertificate(rustls::CertificateError::Expired));
        let error = client::Error::Transport { server: "https://a".into(), source: Box::new(tls) };
        assert_eq!(Error::Request(error).exit(), Exit::Trust);
        let refused = io::Error::from(io::ErrorKind::ConnectionRefused);
        let error = client::Error::Transport { server: "https://a".into(), source: Box::new(refused) };
        assert_eq!(Error::Request(error).exit(), Exit::Fatal);
    }

    #[test]
    fn refused_credentials_and_a_full_disk_have_codes_of_their_own() {
        let status = Status::failure(Reason::Unauthorized, "no");
        assert_eq!(Error::Request(client::Error::from(status)).exit(), Exit::Permission);
        assert_eq!(Error::io("write x", io::ErrorKind::StorageFull.into()).exit(), Exit::Storage);
    }
}
