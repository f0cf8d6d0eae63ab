//! Reading what plans allow: `agents=1000,tokens_per_second=50`.

use super::reader::Reader;
use crate::domain::plans::{Allowance, PlanSettings};

const ALLOWED: &str =
    "agents=NUMBER,tokens_per_second=NUMBER, each from 0 to 1000000 and 0 for any number";
const MOST: u32 = 1_000_000;

impl Reader {
    pub(super) fn plans(&mut self) -> PlanSettings {
        let mut plan = |name| self.parsed(name, ALLOWED, Allowance::default(), allowance);
        PlanSettings {
            free: plan("PLAN_FREE"),
            pro: plan("PLAN_PRO"),
            enterprise: plan("PLAN_ENTERPRISE"),
        }
    }
}

/// Parts in any order, each at most once.
fn allowance(text: &str) -> Option<Allowance> {
    let (mut agents, mut tokens_per_second) = (None, None);
    for part in text.split(',').filter(|part| !part.trim().is_empty()) {
        let (name, number) = part.split_once('=')?;
        let number = number
            .trim()
            .parse()
            .ok()
            .filter(|number| *number <= MOST)?;
        let before = match name.trim() {
            "agents" => agents.replace(number),
            "tokens_per_second" => tokens_per_second.replace(number),
            _ => return None,
        };
        if before.is_some() {
            return None;
        }
    }
    Some(Allowance {
        agents: agents.unwrap_or(0),
        tokens_per_second: tokens_per_second.unwrap_or(0),
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn an_absent_part_is_no_limit_and_an_unknown_or_repeated_one_is_refused() {
        let read =
            |text| allowance(text).map(|allowance| (allowance.agents, allowance.tokens_per_second));
        assert_eq!(read(""), Some((0, 0)));
        assert_eq!(read("agents=10"), Some((10, 0)));
        assert_eq!(read(" tokens_per_second = 5 , agents = 10 "), Some((10, 5)));
        for text in [
            "agents",
            "agents=",
            "agents=-1",
            "agents=1000001",
            "agents=many",
            "agents=1,agents=2",
            "keys=1",
            "agents=1;tokens_per_second=1",
        ] {
            assert_eq!(read(text), None, "{text}");
        }
    }

    proptest! {
        /// I22
        #[test]
        fn what_is_written_is_read(agents in 0..=MOST, tokens_per_second in 0..=MOST) {
            let text = format!("agents={agents},tokens_per_second={tokens_per_second}");
            prop_assert_eq!(allowance(&text), Some(Allowance { agents, tokens_per_second }));
        }

        /// I22
        #[test]
        fn no_text_makes_the_reader_panic(text: String) {
            let _ = allowance(&text);
        }
    }
}
