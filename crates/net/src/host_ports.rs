//! Ports of the host that pods may reach.

use std::{collections::BTreeSet, fmt, str::FromStr};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::Protocol;

/// As text: `6443/tcp,123/udp`; nothing: none.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(try_from = "String", into = "String")]
pub struct HostPorts(pub BTreeSet<(Protocol, u16)>);

impl FromStr for HostPorts {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        const FORM: &str = "ports are written as PORT/PROTOCOL, with commas between them";
        let port = |text: &str| {
            let (number, protocol) = text.trim().split_once('/').ok_or(FORM)?;
            let protocol = match protocol {
                "tcp" => Protocol::Tcp,
                "udp" => Protocol::Udp,
                "sctp" => Protocol::Sctp,
                _ => return Err(FORM),
            };
            match number.parse() {
                Ok(0) | Err(_) => Err(FORM),
                Ok(number) => Ok((protocol, number)),
            }
        };
        if text.trim().is_empty() {
            Ok(Self::default())
        } else {
            text.split(',').map(port).collect::<Result<_, _>>().map(Self)
        }
    }
}

impl fmt::Display for HostPorts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ports: Vec<String> = self.0.iter().map(|(protocol, port)| format!("{port}/{protocol}")).collect();
        f.write_str(&ports.join(","))
    }
}

impl TryFrom<String> for HostPorts {
    type Error = &'static str;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

impl From<HostPorts> for String {
    fn from(ports: HostPorts) -> Self {
        ports.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ports_are_read_as_they_are_written() {
        for (text, written) in [
            ("", ""),
            ("6443/tcp", "6443/tcp"),
            ("123/udp, 6443/tcp,6443/tcp", "6443/tcp,123/udp"),
            ("5/sctp", "5/sctp"),
        ] {
            assert_eq!(text.parse::<HostPorts>().unwrap().to_string(), written, "{text:?}");
        }
        for bad in ["6443", "0/tcp", "65536/tcp", "x/tcp", "1/icmp", "1/TCP", "1/tcp,", "/tcp"] {
            assert!(bad.parse::<HostPorts>().is_err(), "{bad:?}");
        }
    }
}
