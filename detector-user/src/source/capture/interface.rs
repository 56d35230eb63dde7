//! The interfaces that a pcapng file describes, section by section.

use super::LinkType;

/// Maximum number of interfaces; it bounds the memory that a damaged or malicious file can cost.
const MAX_INTERFACES: usize = 65_536;
/// Maximum length of an interface's name in bytes.
const MAX_NAME: usize = 256;

/// The fields of an interface that its packets depend on.
#[derive(Clone, Copy, Debug)]
pub(super) struct Interface {
    /// Its number in the whole file: an index into [`Interfaces::known`].
    pub(super) number: u32,
    pub(super) link_type: LinkType,
    /// The most that is captured of a packet, 0 for no limit.
    pub(super) snap_len: u32,
    pub(super) clock: Clock,
}

/// The interfaces of the current section, and the names of all.
///
/// Packets refer to interfaces by their position in the section. Handed out is a number that is
/// valid in the whole file: an interface which stands at the same position in the next section
/// with the same name and link type keeps its number, so that a flow goes on where a rotated
/// capture was joined from its parts.
#[derive(Debug, Default)]
pub(super) struct Interfaces {
    section: Vec<Interface>,
    previous: Vec<Interface>,
    known: Vec<Identity>,
}

#[derive(Debug, PartialEq, Eq)]
struct Identity {
    name: Option<String>,
    link_type: LinkType,
}

impl Interfaces {
    pub(super) fn begin_section(&mut self) {
        self.previous = std::mem::take(&mut self.section);
    }

    pub(super) fn add(
        &mut self,
        name: Option<&str>,
        link_type: LinkType,
        snap_len: u32,
        clock: Clock,
    ) -> Result<(), String> {
        if self.section.len() == MAX_INTERFACES {
            return Err(format!(
                "a section describes more than {MAX_INTERFACES} interfaces"
            ));
        }
        let identity = Identity {
            name: name.and_then(shortened),
            link_type,
        };
        let number = self.number_of(identity)?;
        self.section.push(Interface {
            number,
            link_type,
            snap_len,
            clock,
        });
        Ok(())
    }

    fn number_of(&mut self, identity: Identity) -> Result<u32, String> {
        if let Some(before) = self.previous.get(self.section.len())
            && self.known.get(before.number as usize) == Some(&identity)
        {
            return Ok(before.number);
        }
        if self.known.len() == MAX_INTERFACES {
            return Err(format!(
                "the file describes more than {MAX_INTERFACES} interfaces"
            ));
        }
        let number = u32::try_from(self.known.len()).map_err(|error| error.to_string())?;
        self.known.push(identity);
        Ok(number)
    }

    /// Returns the interface at `position` in the current section.
    #[inline]
    pub(super) fn get(&self, position: u32) -> Result<Interface, String> {
        self.section.get(position as usize).copied().ok_or_else(|| {
            format!(
                "a packet refers to interface {position}, its section describes {}",
                self.section.len()
            )
        })
    }

    /// Returns the name of an interface by its number in the file.
    pub(super) fn name(&self, number: u32) -> Option<&str> {
        self.known.get(number as usize)?.name.as_deref()
    }
}

/// Returns the start of a name, as long as is kept; none of an empty one.
fn shortened(name: &str) -> Option<String> {
    let cut = (0..=name.len().min(MAX_NAME))
        .rev()
        .find(|&at| name.is_char_boundary(at))?;
    name.get(..cut)
        .filter(|name| !name.is_empty())
        .map(str::to_owned)
}

/// Resolution and offset of an interface's time stamps: `if_tsresol` and `if_tsoffset`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Clock {
    unit: Unit,
    /// Seconds to add.
    offset: i64,
}

/// Conversion of one unit of a time stamp to nanoseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Unit {
    /// So many nanoseconds each.
    Nanoseconds(u64),
    /// So many to one nanosecond.
    PerNanosecond(u64),
    /// 2 to the power of this many to one second.
    BinaryFraction(u8),
}

const NS_PER_S: u64 = 1_000_000_000;

impl Default for Clock {
    /// Microseconds since the UNIX epoch.
    fn default() -> Self {
        Self {
            unit: Unit::Nanoseconds(1000),
            offset: 0,
        }
    }
}

impl Clock {
    /// Sets `if_tsresol`: a negative power of 10, or of 2 where the high bit is set.
    pub(super) fn set_resolution(&mut self, resolution: u8) {
        let exponent = u32::from(resolution & 0x7f);
        self.unit = if resolution & 0x80 != 0 {
            Unit::BinaryFraction(resolution & 0x7f)
        } else if exponent <= 9 {
            Unit::Nanoseconds(10_u64.pow(9 - exponent))
        } else {
            // Finer than 64 bits of it amount to a nanosecond: all are 0.
            Unit::PerNanosecond(10_u64.checked_pow(exponent - 9).unwrap_or(u64::MAX))
        };
    }

    /// Sets `if_tsoffset`, in seconds.
    pub(super) fn set_offset(&mut self, seconds: i64) {
        self.offset = seconds;
    }

    /// Returns the UNIX time in nanoseconds, held between 0 and what 64 bits can tell (the year
    /// 2554).
    #[inline]
    pub(super) fn unix_ns(self, high: u32, low: u32) -> u64 {
        let ticks = u64::from(high) << 32 | u64::from(low);
        match self {
            Self {
                unit: Unit::Nanoseconds(each),
                offset: 0,
            } => ticks.saturating_mul(each),
            _ => self.exact_ns(ticks),
        }
    }

    fn exact_ns(self, ticks: u64) -> u64 {
        let ticks = i128::from(ticks);
        let ns = match self.unit {
            Unit::Nanoseconds(each) => ticks * i128::from(each),
            Unit::PerNanosecond(many) => ticks / i128::from(many),
            Unit::BinaryFraction(exponent) => (ticks * i128::from(NS_PER_S)) >> exponent,
        };
        let ns = ns + i128::from(self.offset) * i128::from(NS_PER_S);
        u64::try_from(ns.max(0)).unwrap_or(u64::MAX)
    }
}
