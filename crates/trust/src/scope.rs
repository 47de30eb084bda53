//! Scopes: what a bearer token was made for.
//!
//! A token that carries scopes may do exactly what they name, whatever its user's groups would
//! allow; a token or certificate without scopes is judged by user and groups alone.

use std::{collections::BTreeSet, fmt, str::FromStr};

/// One thing a bearer token may have been made for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Scope {
    /// `pods.read`: see pods, their status and logs.
    PodsRead,
    /// `pods.write`: create, change and delete pods.
    PodsWrite,
    /// `pods.exec`: run commands in pods, attach, forward ports.
    PodsExec,
    /// `bundles.read`: see bundles and their bindings.
    BundlesRead,
    /// `bundles.write`: create, change, start, stop and delete bundles.
    BundlesWrite,
    /// `bundles.backup`: export profiles and fetch backups.
    BundlesBackup,
    /// `events.read`: see events.
    EventsRead,
    /// `cluster.read`: see every object but confidential ones.
    ClusterRead,
    /// `cluster.admin`: everything.
    ClusterAdmin,
}

impl Scope {
    /// Every scope there is.
    pub const ALL: [Self; 9] = [
        Self::PodsRead,
        Self::PodsWrite,
        Self::PodsExec,
        Self::BundlesRead,
        Self::BundlesWrite,
        Self::BundlesBackup,
        Self::EventsRead,
        Self::ClusterRead,
        Self::ClusterAdmin,
    ];

    /// The scope's name, such as `pods.exec`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::PodsRead => "pods.read",
            Self::PodsWrite => "pods.write",
            Self::PodsExec => "pods.exec",
            Self::BundlesRead => "bundles.read",
            Self::BundlesWrite => "bundles.write",
            Self::BundlesBackup => "bundles.backup",
            Self::EventsRead => "events.read",
            Self::ClusterRead => "cluster.read",
            Self::ClusterAdmin => "cluster.admin",
        }
    }
}

impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A name that is no scope.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{name:?} is not a scope; known are {}", known())]
pub struct UnknownScope {
    /// The name.
    pub name: String,
}

fn known() -> String {
    Scope::ALL.map(Scope::name).join(", ")
}

impl FromStr for Scope {
    type Err = UnknownScope;

    fn from_str(name: &str) -> Result<Self, UnknownScope> {
        Self::ALL.into_iter().find(|scope| scope.name() == name).ok_or_else(|| UnknownScope { name: name.to_owned() })
    }
}

/// A set of scopes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Scopes(BTreeSet<Scope>);

impl Scopes {
    /// Reads names separated by spaces (RFC 6749 section 3.3) or commas.
    pub fn parse(text: &str) -> Result<Self, UnknownScope> {
        text.split([' ', ',']).filter(|name| !name.is_empty()).map(str::parse).collect::<Result<_, _>>().map(Self)
    }

    /// Whether the set holds this scope.
    pub fn contains(&self, scope: Scope) -> bool {
        self.0.contains(&scope)
    }

    /// The scopes in a fixed order.
    pub fn iter(&self) -> impl Iterator<Item = Scope> {
        self.0.iter().copied()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl FromIterator<Scope> for Scopes {
    fn from_iter<I: IntoIterator<Item = Scope>>(scopes: I) -> Self {
        Self(scopes.into_iter().collect())
    }
}

impl fmt::Display for Scopes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, scope) in self.iter().enumerate() {
            if index > 0 {
                f.write_str(" ")?;
            }
            f.write_str(scope.name())?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_scope_is_read_back_from_its_name() {
        let all: Scopes = Scope::ALL.into_iter().collect();
        assert_eq!(Scopes::parse(&all.to_string()).unwrap(), all);
        assert_eq!(Scopes::parse("pods.read,pods.exec").unwrap().to_string(), "pods.read pods.exec");
    }

    #[test]
    fn an_unknown_scope_is_named_with_the_known_ones() {
        let error = Scopes::parse("pods.read pods.fly").unwrap_err().to_string();
        assert!(error.contains("pods.fly") && error.contains("pods.exec"), "{error}");
    }
}
