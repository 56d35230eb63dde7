//! ELF files without their debug information: four fifths of an object, which no loader reads.
//!
//! In: an object with BTF and DWARF (the compiler makes the one out of the other). Out: the same with the
//! sections of DWARF empty; all others keep their number, so that symbols and relocations stay right.

/// Places in the file's header (elf(5), ELF64).
const SECTIONS_AT: usize = 40;
const SECTIONS: usize = 60;
const NAMES: usize = 62;
const FILE_HEADER: usize = 64;
/// The header of a section, and places in it.
const HEADER: usize = 64;
const KIND: usize = 4;
const AT: usize = 24;
const SIZE: usize = 32;
const ALIGNMENT: usize = 48;
/// Kinds of sections.
const NULL: u32 = 0;
const NO_BITS: u32 = 8;

/// Returns an object without debug information; `None` if it is no ELF64 file in little-endian order, or damaged.
pub(crate) fn without_debug(object: &[u8]) -> Option<Vec<u8>> {
    const ELF64_LITTLE_ENDIAN: &[u8] = b"\x7fELF\x02\x01";
    if !object.starts_with(ELF64_LITTLE_ENDIAN) {
        return None;
    }
    let table = usize::try_from(word(object, SECTIONS_AT)?).ok()?;
    let number = usize::from(short(object, SECTIONS)?);
    let mut headers = object.get(table..table + number * HEADER)?.to_vec();
    let names = headers
        .chunks_exact(HEADER)
        .nth(usize::from(short(object, NAMES)?))?;
    let names = content(object, names)?;
    let mut smaller = object.get(..FILE_HEADER)?.to_vec();
    for header in headers.chunks_exact_mut(HEADER) {
        let name = names.get(usize::try_from(half(header, 0)?).ok()?..)?;
        if name.starts_with(b".debug_") || name.starts_with(b".rel.debug_") {
            put(header, KIND, &NULL.to_le_bytes());
            put(header, SIZE, &0u64.to_le_bytes());
        }
        let alignment = usize::try_from(word(header, ALIGNMENT)?).ok()?.max(1);
        smaller.resize(smaller.len().next_multiple_of(alignment), 0);
        let at = smaller.len() as u64;
        if ![NULL, NO_BITS].contains(&half(header, KIND)?) {
            smaller.extend(content(object, header)?);
        }
        put(header, AT, &at.to_le_bytes());
    }
    smaller.resize(smaller.len().next_multiple_of(8), 0);
    let table = smaller.len() as u64;
    put(&mut smaller, SECTIONS_AT, &table.to_le_bytes());
    smaller.extend(headers);
    Some(smaller)
}

/// Returns the bytes of a section.
fn content<'a>(object: &'a [u8], header: &[u8]) -> Option<&'a [u8]> {
    let at = usize::try_from(word(header, AT)?).ok()?;
    let size = usize::try_from(word(header, SIZE)?).ok()?;
    object.get(at..at.checked_add(size)?)
}

fn bytes<const N: usize>(from: &[u8], at: usize) -> Option<[u8; N]> {
    from.get(at..at + N)?.try_into().ok()
}

fn short(from: &[u8], at: usize) -> Option<u16> {
    bytes(from, at).map(u16::from_le_bytes)
}

fn half(from: &[u8], at: usize) -> Option<u32> {
    bytes(from, at).map(u32::from_le_bytes)
}

fn word(from: &[u8], at: usize) -> Option<u64> {
    bytes(from, at).map(u64::from_le_bytes)
}

/// Writes into a header, which is long enough.
fn put(into: &mut [u8], at: usize, value: &[u8]) {
    into[at..at + value.len()].copy_from_slice(value);
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A file with these sections, whose names follow in the last one.
    fn file(sections: &[(&str, u32, &[u8])]) -> Vec<u8> {
        let mut names = vec![0];
        let mut file = [b"\x7fELF\x02\x01".as_slice(), &[0; FILE_HEADER - 6]].concat();
        let mut headers = vec![0; HEADER];
        let mut add = |name: &str, kind: u32, content: &[u8], names: &mut Vec<u8>| {
            let mut header = [0; HEADER];
            put(&mut header, 0, &(names.len() as u32).to_le_bytes());
            put(&mut header, KIND, &kind.to_le_bytes());
            put(&mut header, AT, &(file.len() as u64).to_le_bytes());
            names.extend(name.bytes().chain([0]));
            let content = if name == ".strtab" {
                names.clone()
            } else {
                content.to_vec()
            };
            put(&mut header, SIZE, &(content.len() as u64).to_le_bytes());
            file.extend(content);
            headers.extend(header);
        };
        for (name, kind, content) in sections {
            add(name, *kind, content, &mut names);
        }
        add(".strtab", 3, &[], &mut names);
        let table = file.len() as u64;
        put(&mut file, SECTIONS_AT, &table.to_le_bytes());
        put(
            &mut file,
            SECTIONS,
            &(sections.len() as u16 + 2).to_le_bytes(),
        );
        put(&mut file, NAMES, &(sections.len() as u16 + 1).to_le_bytes());
        [file, headers].concat()
    }

    fn sections(file: &[u8]) -> Vec<(u32, Vec<u8>)> {
        let table = word(file, SECTIONS_AT).unwrap() as usize;
        let headers = file[table..].chunks_exact(HEADER);
        headers
            .map(|header| {
                (
                    half(header, KIND).unwrap(),
                    content(file, header).unwrap().to_vec(),
                )
            })
            .collect()
    }

    #[test]
    fn sections_of_debug_information_are_empty_and_all_others_as_they_were() {
        let whole = file(&[
            (".text", 1, b"code"),
            (".debug_info", 1, &[7; 1000]),
            (".rel.debug_info", 9, &[8; 1000]),
            (".BTF", 1, b"types"),
        ]);
        let smaller = without_debug(&whole).unwrap();
        assert_eq!(smaller.len() + 2000, whole.len().next_multiple_of(8));
        let mut expected = sections(&whole);
        for emptied in &mut expected[2..4] {
            *emptied = (NULL, vec![]);
        }
        assert_eq!(sections(&smaller), expected);
    }

    #[test]
    fn a_damaged_file_is_none() {
        let whole = file(&[(".text", 1, b"code")]);
        assert!(without_debug(&whole[1..]).is_none());
        for len in 0..whole.len() {
            assert!(without_debug(&whole[..len]).is_none(), "{len}");
        }
    }
}
