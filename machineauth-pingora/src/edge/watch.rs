//! Notices when the files have changed that a configuration was read from.

use super::config::Contents;

/// What the files held when they were read, and what a look at them has found since.
#[derive(Debug)]
pub(crate) struct Watch {
    read: Contents,
    /// Another content, at the last look.
    found: Option<Contents>,
}

impl Watch {
    /// Watches the files of a configuration that has just been read.
    pub(crate) fn over(read: Contents) -> Self {
        Self { read, found: None }
    }

    /// The files, and what they held.
    pub(crate) fn read(&self) -> &Contents {
        &self.read
    }

    /// Whether what the files hold `now` is news, and likely whole: whoever writes one may not be done, and half a
    /// configuration can be a good one that protects nothing. So two looks in a row have to find the same.
    pub(crate) fn look(&mut self, now: Contents) -> bool {
        if now == self.read {
            self.found = None;
            return false;
        }
        let is_settled = self.found.as_ref() == Some(&now);
        self.found = Some(now);
        is_settled
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    fn holding(text: &str) -> Contents {
        Contents::of(Path::new("edge.toml"), Some(text.as_bytes()))
    }

    #[test]
    fn a_change_counts_once_two_looks_have_found_the_same() {
        let mut watch = Watch::over(holding("old"));
        assert!(!watch.look(holding("old")));
        assert!(!watch.look(holding("half")));
        assert!(!watch.look(holding("whole")));
        assert!(watch.look(holding("whole")));
    }

    #[test]
    fn what_is_taken_back_between_two_looks_is_no_change() {
        let mut watch = Watch::over(holding("old"));
        for _ in 0..3 {
            assert!(!watch.look(holding("half")));
            assert!(!watch.look(holding("old")));
        }
    }
}
