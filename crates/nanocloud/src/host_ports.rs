//! Ports of the host that pods may reach.

use std::{collections::BTreeSet, fmt, str::FromStr};

use net::Protocol;
use serde::{Serialize, Serializer};

/// As text: `6443/tcp,123/udp`; nothing: none.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HostPorts(pub BTreeSet<(Protocol, u16)>);

impl FromStr for HostPorts {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        let port = |text: &str| {
            let (number, protocol) = text.trim().split_once('/').ok_or(())?;
            let protocol = match protocol {
                "tcp" => Protocol::Tcp,
                "udp" => Protocol::Udp,
                "sctp" => Protocol::Sctp,
                _ => return Err(()),
            };
            match number.parse() {
                Ok(0) | Err(_) => Err(()),
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

impl Serialize for HostPorts {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
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
