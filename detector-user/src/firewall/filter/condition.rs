//! A condition on one field.

use std::cmp::Ordering;
use std::net::IpAddr;

use ipnet::IpNet;

use crate::firewall::pan_os::field_name;
use crate::firewall::row::Row;

/// Bits of a traffic log's flags that `has` knows by name.
const FLAGS: [(&str, u32); 6] = [
    ("pcap", 0x8000_0000),
    ("ipv6", 0x0200_0000),
    ("decrypted", 0x0100_0000),
    ("url-denied", 0x0080_0000),
    ("nat", 0x0040_0000),
    ("captive-portal", 0x0020_0000),
];

/// A condition on one field, or on either end's.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Condition {
    fields: Vec<&'static str>,
    test: Test,
    /// Whether it holds where the test does not.
    negated: bool,
}

#[derive(Debug, Clone, PartialEq)]
enum Test {
    Equal(String),
    Contains(String),
    AtMost(String),
    AtLeast(String),
    Within(IpNet),
    Has(u32),
}

impl Condition {
    /// Makes a condition of its words.
    ///
    /// # Errors
    /// The mistake, and whether it is in the field, the operator or the value: 0 to 2.
    pub(super) fn new(field: &str, operator: &str, value: &str) -> Result<Self, (usize, String)> {
        let fields = match field.to_ascii_lowercase().as_str() {
            "addr" => vec!["addr.src", "addr.dst"],
            "port" => vec!["port.src", "port.dst"],
            "zone" => vec!["zone.src", "zone.dst"],
            "user" => vec!["user.src", "user.dst"],
            _ => vec![field_name(field).ok_or_else(|| (0, format!("unknown field {field:?}")))?],
        };
        let is_address = fields.iter().all(|field| is_address(field));
        let network = || -> Result<IpNet, (usize, String)> {
            let network = value.parse::<IpNet>().map(|it| it.trunc());
            let address = || value.parse::<IpAddr>().map(IpNet::from);
            network
                .or_else(|_| address())
                .map_err(|_| (2, format!("{value:?} is no address or network")))
        };
        let text = || value.to_ascii_lowercase();
        let operator = operator.to_ascii_lowercase();
        let (test, negated) = match operator.as_str() {
            "eq" | "neq" if is_address => (Test::Within(network()?), operator == "neq"),
            "eq" | "neq" => (Test::Equal(text()), operator == "neq"),
            "in" | "notin" if is_address => (Test::Within(network()?), operator == "notin"),
            "in" | "notin" => (Test::Equal(text()), operator == "notin"),
            "contains" => (Test::Contains(text()), false),
            "leq" => (Test::AtMost(text()), false),
            "geq" => (Test::AtLeast(text()), false),
            "has" => (Test::Has(flag(value)?), false),
            _ => {
                return Err((
                    1,
                    format!(
                        "unknown operator {operator:?}; known are eq, neq, in, notin, contains, leq, \
                         geq and has"
                    ),
                ));
            }
        };
        Ok(Self {
            fields,
            test,
            negated,
        })
    }

    pub(super) fn holds(&self, row: &Row) -> bool {
        let mut fields = self.fields.iter();
        fields.any(|field| self.test.holds(field, row.field(field))) != self.negated
    }
}

impl Test {
    fn holds(&self, field: &str, value: &str) -> bool {
        let value = value.trim();
        match self {
            Self::Equal(wanted) => {
                let found = value.to_ascii_lowercase();
                found == *wanted || (field == "proto" && protocol(&found) == protocol(wanted))
            }
            Self::Contains(wanted) => value.to_ascii_lowercase().contains(wanted),
            Self::AtMost(wanted) => !value.is_empty() && compare(value, wanted).is_le(),
            Self::AtLeast(wanted) => !value.is_empty() && compare(value, wanted).is_ge(),
            Self::Within(network) => value.parse().is_ok_and(|it: IpAddr| network.contains(&it)),
            Self::Has(bits) => bits_of(value).is_some_and(|it| it & bits != 0),
        }
    }
}

/// Compares two numbers by their values, and other texts, times among them, by their characters.
fn compare(one: &str, other: &str) -> Ordering {
    match (one.parse::<f64>(), other.parse::<f64>()) {
        (Ok(one), Ok(other)) => one.total_cmp(&other),
        _ => one.to_ascii_lowercase().as_str().cmp(other),
    }
}

fn is_address(field: &str) -> bool {
    matches!(field, "addr.src" | "addr.dst" | "natsrc" | "natdst")
}

fn protocol(name: &str) -> &str {
    match name {
        "6" => "tcp",
        "17" => "udp",
        "1" => "icmp",
        other => other,
    }
}

fn flag(name: &str) -> Result<u32, (usize, String)> {
    let known = FLAGS.iter().find(|(flag, _)| *flag == name);
    let known = known.map(|(_, bits)| *bits);
    known
        .or_else(|| bits_of(name))
        .ok_or_else(|| (2, format!("unknown flag {name:?}")))
}

fn bits_of(text: &str) -> Option<u32> {
    let digits = text.strip_prefix("0x").unwrap_or(text);
    u32::from_str_radix(digits, 16).ok()
}
