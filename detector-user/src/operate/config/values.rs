//! Values of the configuration file: from TOML, and back.

use std::fmt::Display;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::num::NonZeroU16;
use std::path::{Path, PathBuf};
use std::time::Duration;

use bytesize::ByteSize;
use glob::Pattern;
use ipnet::IpNet;
use nix::sys::statfs::{BPF_FS_MAGIC, NSFS_MAGIC, SYSFS_MAGIC, statfs};
use toml::de::DeValue;
use toml::{Spanned, Value};

use crate::host::namespace::path as namespace_path;
use crate::outlet::exclusions::HostPattern;
use crate::outlet::metrics::MetricsAddress;

/// A mistake in a value; `at` is its byte offset in the file if not all of the value is wrong.
pub(super) struct Complaint {
    pub(super) at: Option<usize>,
    pub(super) why: String,
}

impl Complaint {
    pub(super) fn new(why: impl Display) -> Self {
        Self {
            at: None,
            why: why.to_string(),
        }
    }
}

/// All mistakes in a value.
pub(super) struct Complaints(pub(super) Vec<Complaint>);

impl From<Complaint> for Complaints {
    fn from(complaint: Complaint) -> Self {
        Self(vec![complaint])
    }
}

pub(super) fn text<'a>(value: &'a Spanned<DeValue<'_>>) -> Result<&'a str, Complaint> {
    let found = value.get_ref();
    found
        .as_str()
        .ok_or_else(|| Complaint::new(format!("found {}", with_article(found.type_str()))))
}

fn with_article(kind: &str) -> String {
    let article = if kind.starts_with(['a', 'i']) {
        "an"
    } else {
        "a"
    };
    format!("{article} {kind}")
}

/// Reads `true` or `false`.
pub(super) fn flag(value: &Spanned<DeValue<'_>>) -> Result<bool, Complaint> {
    let found = value.get_ref();
    found
        .as_bool()
        .ok_or_else(|| Complaint::new(format!("found {}", with_article(found.type_str()))))
}

/// Reads each text of a list. All that are wrong are returned.
pub(super) fn list<T>(
    value: &Spanned<DeValue<'_>>,
    read: impl Fn(&str) -> Result<T, String>,
) -> Result<Vec<T>, Complaints> {
    each(value, |item| {
        let given = text(item)?;
        read(given).map_err(Complaint::new)
    })
}

pub(super) fn each<T>(
    value: &Spanned<DeValue<'_>>,
    read: impl Fn(&Spanned<DeValue<'_>>) -> Result<T, Complaint>,
) -> Result<Vec<T>, Complaints> {
    let found = value.get_ref();
    let items = found
        .as_array()
        .ok_or_else(|| Complaint::new(format!("found {}", with_article(found.type_str()))))?;
    let mut values = Vec::new();
    let mut complaints = Vec::new();
    for item in items {
        match read(item) {
            Ok(value) => values.push(value),
            Err(complaint) => complaints.push(Complaint {
                at: Some(item.span().start),
                ..complaint
            }),
        }
    }
    if complaints.is_empty() {
        Ok(values)
    } else {
        Err(Complaints(complaints))
    }
}

/// Parses a network, or an address as a network of its own.
///
/// # Errors
/// The reason why it is none.
pub(crate) fn network(given: &str) -> Result<IpNet, String> {
    let parsed = given
        .parse::<IpNet>()
        .or_else(|error| given.parse::<IpAddr>().map(IpNet::from).map_err(|_| error))
        .map_err(|_| format!("{given:?} is not a network"))?;
    let network = parsed.trunc();
    if network == parsed {
        Ok(network)
    } else {
        Err(format!("{given:?} has host bits set, unlike {network}"))
    }
}

/// Parses a glob of server names.
///
/// # Errors
/// The reason why it is none.
pub(crate) fn name_glob(given: &str) -> Result<Pattern, String> {
    Pattern::new(given).map_err(|error| {
        format!(
            "{given:?} is not a glob: {}; wildcards are *, ? and [a-z]",
            error.msg
        )
    })
}

/// Parses a confidence.
///
/// # Errors
/// The reason why it is none.
pub(crate) fn confidence(given: &str) -> Result<f64, String> {
    let parsed = given.parse::<f64>().ok();
    parsed
        .filter(|number| (0.0..=1.0).contains(number))
        .ok_or_else(|| format!("{given} is not a number from 0 to 1"))
}

/// Reads a confidence: a float, or 0 or 1 as an integer.
pub(super) fn confidence_value(value: &Spanned<DeValue<'_>>) -> Result<f64, Complaint> {
    let found = value.get_ref();
    let text = found
        .as_float()
        .map(|float| float.as_str().replace('_', ""))
        .or_else(|| found.as_integer().map(|it| it.as_str().to_owned()))
        .ok_or_else(|| Complaint::new(format!("found {}", with_article(found.type_str()))))?;
    confidence(&text).map_err(Complaint::new)
}

pub(super) fn port_values(ports: &[u16]) -> Value {
    let ports = ports.iter();
    Value::Array(ports.map(|&port| Value::Integer(port.into())).collect())
}

pub(super) fn ports(value: &Spanned<DeValue<'_>>) -> Result<Vec<u16>, Complaints> {
    each(value, |item| Ok(number(item, 1, u16::MAX.into())? as u16))
}

pub(super) fn number(
    value: &Spanned<DeValue<'_>>,
    least: u64,
    most: u64,
) -> Result<u64, Complaint> {
    let found = value.get_ref();
    let integer = found
        .as_integer()
        .ok_or_else(|| Complaint::new(format!("found {}", with_article(found.type_str()))))?;
    let digits = integer.as_str().replace('_', "");
    let number = i128::from_str_radix(&digits, integer.radix())
        .map_err(|_| Complaint::new("the number is too large"))?;
    u64::try_from(number)
        .ok()
        .filter(|number| (least..=most).contains(number))
        .ok_or_else(|| Complaint::new(format!("{number} is out of range")))
}

pub(super) fn duration(value: &Spanned<DeValue<'_>>) -> Result<Duration, Complaint> {
    let given = text(value)?;
    humantime::parse_duration(given)
        .map_err(|_| Complaint::new(format!("{given:?} is not a duration")))
}

pub(super) fn size(value: &Spanned<DeValue<'_>>) -> Result<u64, Complaint> {
    let given = text(value)?;
    let size: ByteSize = given
        .parse()
        .map_err(|_| Complaint::new(format!("{given:?} is not a size")))?;
    Ok(size.as_u64())
}

pub(super) fn ring(value: &Spanned<DeValue<'_>>) -> Result<u32, Complaint> {
    let bytes = size(value)?;
    let fits = bytes.is_power_of_two() && (64 << 10..=1 << 30).contains(&bytes);
    u32::try_from(bytes).ok().filter(|_| fits).ok_or_else(|| {
        Complaint::new(format!(
            "{bytes} bytes is out of range or not a power of two"
        ))
    })
}

pub(super) fn path(value: &Spanned<DeValue<'_>>) -> Result<PathBuf, Complaint> {
    let path = PathBuf::from(text(value)?);
    if path.is_absolute() {
        Ok(path)
    } else {
        Err(Complaint::new(format!(
            "{:?} is not an absolute path",
            path.display().to_string()
        )))
    }
}

pub(super) fn file(value: &Spanned<DeValue<'_>>) -> Result<PathBuf, Complaint> {
    let file = path(value)?;
    if file.is_dir() {
        let shown = file.display().to_string();
        return Err(Complaint::new(format!("{shown:?} is a directory")));
    }
    Ok(file)
}

/// Reads a network namespace: its name, or an absolute path. One that does not exist may be made later.
pub(super) fn namespace(given: &str) -> Result<PathBuf, Complaint> {
    let path = Path::new(given);
    let is_name = path.components().count() == 1 && !given.contains('/');
    if !is_name && !path.is_absolute() || [".", ".."].contains(&given) {
        return Err(Complaint::new(format!(
            "{given:?} is neither a name nor an absolute path"
        )));
    }
    // A file that cannot be examined is judged at the start.
    let file = namespace_path(path);
    if statfs(&file).is_ok_and(|found| found.filesystem_type() != NSFS_MAGIC) {
        let shown = file.display().to_string();
        return Err(Complaint::new(format!("{shown:?} is no network namespace")));
    }
    Ok(path.to_owned())
}

/// Reads a directory for pins, which may be made later, but not outside a BPF filesystem.
pub(super) fn pins(value: &Spanned<DeValue<'_>>) -> Result<PathBuf, Complaint> {
    let path = path(value)?;
    let shown = path.display().to_string();
    if path.exists() && !path.is_dir() {
        return Err(Complaint::new(format!("{shown:?} is not a directory")));
    }
    let existing = path.ancestors().find(|folder| folder.exists());
    // The usual place is in sysfs until a BPF filesystem is mounted there.
    let is_elsewhere = existing
        .and_then(|folder| statfs(folder).ok())
        .is_some_and(|found| ![BPF_FS_MAGIC, SYSFS_MAGIC].contains(&found.filesystem_type()));
    if is_elsewhere {
        let why = format!("{shown:?} is not on a BPF filesystem");
        return Err(Complaint::new(why));
    }
    Ok(path)
}

/// Reads the address of metrics.
pub(super) fn metrics(value: &Spanned<DeValue<'_>>) -> Result<MetricsAddress, Complaint> {
    let address = text(value)?.parse().map_err(Complaint::new)?;
    if let MetricsAddress::Unix(path) = &address {
        let shown = path.display().to_string();
        if !path.is_absolute() {
            return Err(Complaint::new(format!("{shown:?} is not an absolute path")));
        }
        if path.is_dir() {
            return Err(Complaint::new(format!("{shown:?} is a directory")));
        }
    }
    Ok(address)
}

/// Reads an address that is served on: a port alone is one of loopback.
pub(super) fn listen(value: &Spanned<DeValue<'_>>) -> Result<SocketAddr, Complaint> {
    let given = text(value)?;
    let port = given.parse::<NonZeroU16>();
    let on_loopback = port.map(|port| SocketAddr::from((Ipv4Addr::LOCALHOST, port.get())));
    on_loopback.or_else(|_| given.parse()).map_err(|_| {
        Complaint::new(format!(
            "{given:?} is neither a port nor an address with one"
        ))
    })
}

/// Reads a user of basic authentication (RFC 7617 §2: without a colon).
pub(super) fn user(value: &Spanned<DeValue<'_>>) -> Result<String, Complaint> {
    let given = text(value)?;
    if given.is_empty() || given.contains(':') || given.chars().any(char::is_control) {
        return Err(Complaint::new(format!("found {given:?}")));
    }
    Ok(given.to_owned())
}

/// Reads a host of a list by hand.
pub(super) fn host(given: &str) -> Result<HostPattern, String> {
    given
        .parse()
        .map_err(|error| format!("{given:?} is {error}"))
}

pub(super) fn count(number: usize) -> Value {
    Value::Integer(i64::try_from(number).unwrap_or(i64::MAX))
}

pub(super) fn texts<T: Display>(values: impl IntoIterator<Item = T>) -> Value {
    let texts = values.into_iter().map(|value| value.to_string().into());
    Value::Array(texts.collect())
}

pub(super) fn path_value(path: &Path) -> Value {
    path.display().to_string().into()
}

pub(super) fn duration_value(duration: Duration) -> Value {
    const UNITS: [(u64, &str); 3] = [(86_400, "d"), (3_600, "h"), (60, "m")];
    let seconds = duration.as_secs();
    let is_whole = |unit: u64| seconds > 0 && seconds.is_multiple_of(unit);
    let exact = UNITS.iter().find(|(unit, _)| is_whole(*unit));
    match exact {
        Some((unit, name)) if duration.subsec_nanos() == 0 => {
            format!("{}{name}", seconds / unit).into()
        }
        _ => humantime::format_duration(duration)
            .to_string()
            .replace(' ', "")
            .into(),
    }
}

pub(super) fn size_value(bytes: u64) -> Value {
    const UNITS: [(u64, &str); 3] = [(1 << 30, "GiB"), (1 << 20, "MiB"), (1 << 10, "KiB")];
    let exact = UNITS
        .iter()
        .find(|(unit, _)| bytes > 0 && bytes.is_multiple_of(*unit));
    match exact {
        Some((unit, name)) => format!("{}{name}", bytes / unit).into(),
        None => format!("{bytes}B").into(),
    }
}
