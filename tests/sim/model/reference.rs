//! What must be true of a swarm, kept as a few sets.

use cjp2pfs::content::{ByteRange, RangeSet};

use crate::content::Synthetic;

/// What a search question asks for; content of which no more is wanted may be looked for by it.
const SEARCH: u64 = 32;

/// What the application wants of one id and has been given.
pub struct Reference {
    pub what: Synthetic,
    pub wanted: RangeSet,
    given: RangeSet,
    /// All that has been wanted since it was last forgotten.
    ever: RangeSet,
    /// Whether it is looked for.
    pub sought: bool,
    pub delivered: u64,
}

impl Reference {
    pub fn new(what: Synthetic) -> Self {
        Self {
            what,
            wanted: RangeSet::new(),
            given: RangeSet::new(),
            ever: RangeSet::new(),
            sought: false,
            delivered: 0,
        }
    }

    /// The parts of `range` that are to be wanted of the swarm: what is held is not.
    pub fn want(&mut self, range: ByteRange) -> Vec<ByteRange> {
        let inside = range.intersection(ByteRange::new(0, self.what.length));
        let lacking: Vec<_> = self.given.gaps(inside).collect();
        for part in &lacking {
            self.wanted.insert(*part);
            self.ever.insert(*part);
        }
        lacking
    }

    pub fn unwant(&mut self, range: ByteRange) {
        self.wanted.remove(range);
    }

    /// What was given of `range` is held no more.
    pub fn lose(&mut self, range: ByteRange) {
        self.given.remove(range);
    }

    pub fn forget(&mut self) {
        *self = Self {
            delivered: self.delivered,
            ..Self::new(self.what)
        };
    }

    /// These bytes come; whether they are right.
    pub fn deliver(&mut self, offset: u64, data: &[u8]) -> bool {
        let range = ByteRange::at(offset, data.len() as u64);
        assert!(!range.is_empty(), "nothing came");
        assert!(self.wanted.contains(range), "{range:?} came unwanted");
        assert!(!self.given.intersects(range), "{range:?} came twice");
        self.wanted.remove(range);
        self.given.insert(range);
        self.delivered += range.len();
        self.what.wrong_bytes(offset, data) == 0
    }

    /// `range` is asked for: all of it was wanted, and some of it is.
    pub fn ask(&self, range: ByteRange) {
        let is_search = range == ByteRange::at(0, SEARCH);
        if is_search && (self.sought || !self.wanted.is_empty()) {
            return;
        }
        assert!(self.ever.contains(range), "{range:?} was never wanted");
        assert!(
            self.wanted.intersects(range),
            "{range:?} is wanted no more and asked for"
        );
    }
}

/// The reference would tell.
#[test]
fn the_reference_refuses_what_is_wrong() {
    let what = Synthetic::new(1, 10_000);
    let wanting = || {
        let mut reference = Reference::new(what);
        assert_eq!(reference.want(ByteRange::new(0, 20_000)).len(), 1);
        reference
    };
    let refuses = |what: &str, act: fn(&mut Reference)| {
        let mut reference = wanting();
        let act = std::panic::AssertUnwindSafe(|| act(&mut reference));
        assert!(std::panic::catch_unwind(act).is_err(), "{what}");
    };
    assert!(wanting().deliver(4096, &what.read(4096, 100)));
    assert!(!wanting().deliver(4096, &[0; 100]));
    wanting().ask(ByteRange::new(0, 10_000));
    refuses("bytes that come twice", |reference| {
        reference.deliver(0, &[1; 100]);
        reference.deliver(50, &[1; 10]);
    });
    refuses("bytes past the end", |reference| {
        reference.deliver(9999, &[1; 2]);
    });
    refuses("bytes wanted no more", |reference| {
        reference.unwant(ByteRange::new(0, 100));
        reference.deliver(0, &[1; 10]);
    });
    refuses("a question past the end", |reference| {
        reference.ask(ByteRange::new(9000, 10_001));
    });
    refuses("a question for what is here", |reference| {
        reference.deliver(0, &[1; 100]);
        reference.ask(ByteRange::new(0, 100));
    });
}
