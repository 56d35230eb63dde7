//! Classic BPF programs, as tcpdump prints and libpcap runs them (Linux,
//! `Documentation/networking/filter.rst`).
//!
//! They run here in safe Rust: frames are hostile bytes, and nothing is linked for a filter.

/// One instruction: operation, jumps if true and if false, operand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Instruction {
    code: u16,
    if_true: u8,
    if_false: u8,
    k: u32,
}

/// A program that accepts or rejects a frame.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Program(Vec<Instruction>);

/// Words of a program's memory (`BPF_MEMWORDS`).
const WORDS: usize = 16;

/// The registers and the memory of a run.
#[derive(Default)]
struct Machine {
    a: u32,
    x: u32,
    memory: [u32; WORDS],
}

/// The effect of an instruction.
enum Effect {
    Next,
    /// Instructions to skip.
    Jump(usize),
    Return(bool),
}

impl Program {
    /// Parses decimal numbers: of instructions, then four for each (`tcpdump -ddd`).
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let mut numbers = text.split_ascii_whitespace();
        let mut number = || numbers.next()?.parse::<u32>().ok();
        let len = number()?;
        let mut instruction = || {
            Some(Instruction {
                code: number()?.try_into().ok()?,
                if_true: number()?.try_into().ok()?,
                if_false: number()?.try_into().ok()?,
                k: number()?,
            })
        };
        (0..len)
            .map(|_| instruction())
            .collect::<Option<_>>()
            .map(Self)
    }

    /// Returns whether the program accepts a frame. A frame that ends before a byte that is asked for is
    /// rejected, as is every frame by a program that is none.
    #[must_use]
    pub fn accepts(&self, frame: &[u8], wire_len: u32) -> bool {
        self.run(frame, wire_len).unwrap_or(false)
    }

    fn run(&self, frame: &[u8], wire_len: u32) -> Option<bool> {
        let mut machine = Machine::default();
        let mut rest = self.0.as_slice();
        // Jumps lead forward only: it ends.
        loop {
            let (instruction, following) = rest.split_first()?;
            rest = match machine.step(*instruction, frame, wire_len)? {
                Effect::Next => following,
                Effect::Jump(skipped) => following.get(skipped..)?,
                Effect::Return(accepted) => return Some(accepted),
            };
        }
    }
}

impl Machine {
    /// Runs an instruction: its class is in the lowest three bits.
    fn step(&mut self, it: Instruction, frame: &[u8], wire_len: u32) -> Option<Effect> {
        match it.code & 0x07 {
            0x00 => self.a = self.load(it, frame, wire_len)?,
            0x01 => self.x = self.load_index(it, frame, wire_len)?,
            0x02 => *self.memory.get_mut(it.k as usize)? = self.a,
            0x03 => *self.memory.get_mut(it.k as usize)? = self.x,
            0x04 => self.a = self.calculate(it)?,
            0x05 => return self.jump(it),
            0x06 => return Some(Effect::Return(self.returned(it)? != 0)),
            _ if it.code & 0x80 == 0 => self.x = self.a,
            _ => self.a = self.x,
        }
        Some(Effect::Next)
    }

    fn load(&self, it: Instruction, frame: &[u8], wire_len: u32) -> Option<u32> {
        let indirect = self.x.checked_add(it.k);
        match it.code & 0xe0 {
            0x00 => Some(it.k),
            0x20 => number(frame, it.k, it.code),
            0x40 => number(frame, indirect?, it.code),
            0x60 => self.memory.get(it.k as usize).copied(),
            0x80 => Some(wire_len),
            _ => None,
        }
    }

    fn load_index(&self, it: Instruction, frame: &[u8], wire_len: u32) -> Option<u32> {
        match it.code & 0xe0 {
            // The length of an IPv4 header.
            0xa0 => Some(u32::from(frame.get(it.k as usize)? & 0x0f) * 4),
            0x20 | 0x40 => None,
            _ => self.load(it, frame, wire_len),
        }
    }

    /// Returns the second operand of a calculation or comparison.
    fn operand(&self, it: Instruction) -> u32 {
        if it.code & 0x08 == 0 { it.k } else { self.x }
    }

    fn calculate(&self, it: Instruction) -> Option<u32> {
        let (a, b) = (self.a, self.operand(it));
        Some(match it.code & 0xf0 {
            0x00 => a.wrapping_add(b),
            0x10 => a.wrapping_sub(b),
            0x20 => a.wrapping_mul(b),
            0x30 => a.checked_div(b)?,
            0x40 => a | b,
            0x50 => a & b,
            0x60 => a.checked_shl(b).unwrap_or(0),
            0x70 => a.checked_shr(b).unwrap_or(0),
            0x80 => a.wrapping_neg(),
            0x90 => a.checked_rem(b)?,
            0xa0 => a ^ b,
            _ => return None,
        })
    }

    fn jump(&self, it: Instruction) -> Option<Effect> {
        let (a, b) = (self.a, self.operand(it));
        let holds = match it.code & 0xf0 {
            0x00 => return Some(Effect::Jump(it.k as usize)),
            0x10 => a == b,
            0x20 => a > b,
            0x30 => a >= b,
            0x40 => a & b != 0,
            _ => return None,
        };
        let skipped = if holds { it.if_true } else { it.if_false };
        Some(Effect::Jump(usize::from(skipped)))
    }

    fn returned(&self, it: Instruction) -> Option<u32> {
        match it.code & 0x18 {
            0x00 => Some(it.k),
            0x08 => Some(self.x),
            0x10 => Some(self.a),
            _ => None,
        }
    }
}

/// Returns a number of the frame, big-endian, of the instruction's size.
fn number(frame: &[u8], at: u32, code: u16) -> Option<u32> {
    let bytes = frame.get(at as usize..)?;
    match code & 0x18 {
        0x00 => bytes.first_chunk().map(|it| u32::from_be_bytes(*it)),
        0x08 => bytes
            .first_chunk()
            .map(|it| u32::from(u16::from_be_bytes(*it))),
        0x10 => bytes.first().map(|it| u32::from(*it)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use rstest::rstest;

    use super::*;

    const FRAME: &[u8] = &[0x01, 0x02, 0x03, 0x04, 0x45];

    /// Runs code and returns `A`, by comparing it with the value at the end.
    fn leaves(code: &str, expected: u32) -> bool {
        let lines = code.split(';').count() + 3;
        let text = format!(
            "{lines}\n{}\n21 0 1 {expected}\n6 0 0 1\n6 0 0 0\n",
            code.replace(';', "\n")
        );
        let program = Program::parse(&text).expect("a program");
        program.accepts(FRAME, 1500)
    }

    #[rstest]
    #[case::word("32 0 0 0", 0x0102_0304)]
    #[case::half("40 0 0 1", 0x0203)]
    #[case::byte("48 0 0 3", 4)]
    #[case::indirect("1 0 0 2;80 0 0 1", 4)]
    #[case::wire_len("128 0 0 0", 1500)]
    #[case::header_len("177 0 0 4;135 0 0 0", 20)]
    #[case::memory("0 0 0 7;2 0 0 15;0 0 0 0;96 0 0 15", 7)]
    #[case::memory_of_x("1 0 0 9;3 0 0 2;96 0 0 2", 9)]
    #[case::index_from_memory("0 0 0 7;2 0 0 1;97 0 0 1;0 0 0 0;135 0 0 0", 7)]
    #[case::add("0 0 0 7;4 0 0 4294967295", 6)]
    #[case::subtract("0 0 0 1;20 0 0 2", u32::MAX)]
    #[case::multiply("0 0 0 3;36 0 0 5", 15)]
    #[case::divide("0 0 0 7;52 0 0 2", 3)]
    #[case::remainder("0 0 0 7;148 0 0 4", 3)]
    #[case::or("0 0 0 5;68 0 0 2", 7)]
    #[case::and("0 0 0 7;84 0 0 12", 4)]
    #[case::xor("0 0 0 7;164 0 0 5", 2)]
    #[case::left("0 0 0 3;100 0 0 2", 12)]
    #[case::left_beyond("0 0 0 3;100 0 0 32", 0)]
    #[case::right("0 0 0 12;116 0 0 2", 3)]
    #[case::negate("0 0 0 1;132 0 0 0", u32::MAX)]
    #[case::by_x("1 0 0 3;0 0 0 4;12 0 0 0", 7)]
    #[case::tax("0 0 0 4;7 0 0 0;0 0 0 1;135 0 0 0", 4)]
    #[case::always("5 0 0 1;0 0 0 1;4 0 0 2", 2)]
    #[case::greater("0 0 0 2;37 0 1 1;0 0 0 9;4 0 0 1", 10)]
    #[case::not_greater("0 0 0 1;37 0 1 1;0 0 0 9;4 0 0 1", 2)]
    #[case::greater_or_equal("0 0 0 1;53 0 1 1;0 0 0 9", 9)]
    #[case::set("0 0 0 6;69 0 1 2;0 0 0 9", 9)]
    #[case::not_set("0 0 0 4;69 0 1 2;0 0 0 9", 4)]
    fn an_instruction_leaves(#[case] code: &str, #[case] a: u32) {
        assert!(leaves(code, a));
        assert!(!leaves(code, a ^ 0x8000));
    }

    #[rstest]
    #[case::beyond_the_frame("32 0 0 2")]
    #[case::far_beyond("1 0 0 4294967295;64 0 0 4294967295")]
    #[case::division_by_zero("52 0 0 0")]
    #[case::remainder_by_zero("148 0 0 0")]
    #[case::memory_beyond("96 0 0 16")]
    #[case::jump_beyond("5 0 0 4294967295")]
    fn a_run_that_fails_rejects(#[case] code: &str) {
        assert!(!leaves(code, 0));
    }

    #[rstest]
    #[case("")]
    #[case("1\n6 0 0")]
    #[case("1\n6 256 0 0")]
    #[case("4294967295\n6 0 0 0")]
    #[case("tcpdump: no")]
    fn a_text_that_is_no_program(#[case] text: &str) {
        assert_eq!(Program::parse(text), None);
    }

    #[test]
    fn a_program_without_an_end_rejects() {
        let program = Program::parse("1\n0 0 0 1").expect("a program");
        assert!(!program.accepts(FRAME, 5));
    }

    proptest! {
        #[test]
        fn any_program_ends(
            code in prop::collection::vec(any::<(u8, u8, u8, u32)>(), 0..64),
            frame in prop::collection::vec(any::<u8>(), 0..80),
        ) {
            let mut text = code.len().to_string();
            for (code, if_true, if_false, k) in code {
                text.push_str(&format!("\n{code} {if_true} {if_false} {k}"));
            }
            let program = Program::parse(&text).expect("a program");
            let _ = program.accepts(&frame, 100);
        }
    }
}
