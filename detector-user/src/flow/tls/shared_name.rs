//! Server names that come again, each in one place of memory.

use std::cell::RefCell;
use std::sync::Arc;

use crate::flow::tls::memo::place;

/// Names remembered: some 512 KiB of usual ones.
const PLACES: usize = 8_192;
/// Bytes of the longest host name (RFC 1035 §2.3.4).
const NAME_MAX: usize = 255;

thread_local! {
    static NAMES: RefCell<Vec<Option<Arc<str>>>> = const { RefCell::new(Vec::new()) };
}

/// Returns a name, shared with others that are the same and came lately.
pub(in crate::flow) fn shared_name(name: &str) -> Arc<str> {
    if name.len() > NAME_MAX {
        return name.into();
    }
    NAMES.with_borrow_mut(|names| {
        if names.is_empty() {
            names.resize(PLACES, None);
        }
        let Some(known) = names.get_mut(place(name.as_bytes(), PLACES)) else {
            return name.into();
        };
        match known {
            Some(known) if **known == *name => Arc::clone(known),
            _ => Arc::clone(known.insert(name.into())),
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_that_comes_again_is_the_same() {
        let first = shared_name("www.example.test");
        assert!(Arc::ptr_eq(&first, &shared_name("www.example.test")));
        assert!(!Arc::ptr_eq(&first, &shared_name("www.example.tesu")));
    }

    #[test]
    fn each_name_is_its_own() {
        // More names than places, so that some take another's place.
        for number in 0..3 * PLACES {
            let name = format!("{}.test", number % (2 * PLACES));
            assert_eq!(*shared_name(&name), name);
        }
        let long = "a".repeat(NAME_MAX + 1);
        assert_eq!(*shared_name(&long), long);
        assert!(!Arc::ptr_eq(&shared_name(&long), &shared_name(&long)));
    }
}
