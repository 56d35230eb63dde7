//! Randomness that is the same in every run: a corpus made twice must be the same corpus.

/// xorshift64* (Marsaglia 2003; Vigna 2016).
#[derive(Clone, Debug)]
pub struct Random(u64);

impl Random {
    /// Creates a generator from a seed; also zero gives a working generator.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        // Seeds that differ in few bits would otherwise begin alike.
        Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    /// Creates a generator from a text, so that each file and each rewrite has its own.
    #[must_use]
    pub fn named(name: &str) -> Self {
        // FNV-1a.
        let hash = name.bytes().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
            (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
        });
        Self::new(hash)
    }

    /// Returns the next 64 bits.
    pub fn bits(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    /// Returns a number from `low` to `high`, both included; `low` where the range is empty.
    pub fn between(&mut self, low: u64, high: u64) -> u64 {
        low + self.bits() % high.saturating_sub(low).saturating_add(1)
    }

    /// Returns a number below `below`; zero where there is none.
    pub fn below(&mut self, below: usize) -> usize {
        (self.bits() % (below.max(1) as u64)) as usize
    }

    /// Returns one of several; `None` of an empty slice.
    pub fn one<'a, T>(&mut self, of: &'a [T]) -> Option<&'a T> {
        of.get(self.below(of.len()))
    }

    /// Whether something of one in `n` happens.
    pub fn one_in(&mut self, n: u64) -> bool {
        self.bits().is_multiple_of(n.max(1))
    }

    /// Returns 16 bits.
    pub fn u16(&mut self) -> u16 {
        (self.bits() >> 48) as u16
    }

    /// Returns 32 bits.
    pub fn u32(&mut self) -> u32 {
        (self.bits() >> 32) as u32
    }

    /// Returns `len` bytes.
    pub fn bytes(&mut self, len: usize) -> Vec<u8> {
        (0..len).map(|_| (self.bits() >> 56) as u8).collect()
    }
}
