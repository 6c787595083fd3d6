//! Choosing one of several by a hash: the actions `multipath`, `bundle` and `bundle_load`.

use ovs_packet::OfPort;
use ovs_packet::hash;

use super::Translator;
use super::group::mix;
use crate::action::{Bundle, BundleAlgorithm, HashFields, Multipath, MultipathAlgorithm};

/// Beyond so many links the highest weight is not looked for.
const HRW_MAX: u32 = 64;

impl Translator<'_> {
    fn hash_of(&mut self, fields: HashFields, basis: u16) -> u32 {
        let fields = hash::HashFields::from_code(fields.number()).unwrap_or(hash::HashFields::EthSrc);
        self.tracked.hash(fields, basis.into())
    }

    pub(super) fn multipath(&mut self, m: &Multipath) {
        let hash = self.hash_of(m.fields, m.basis);
        let links = u32::from(m.max_link) + 1;
        let link = match m.algorithm {
            MultipathAlgorithm::ModuloN => hash % links,
            MultipathAlgorithm::HashThreshold => ((u64::from(hash) * u64::from(links)) >> 32) as u32,
            MultipathAlgorithm::HighestRandomWeight if links <= HRW_MAX => highest(hash, 0..links),
            MultipathAlgorithm::HighestRandomWeight => iterate(hash, links, 0),
            MultipathAlgorithm::IterHash => iterate(hash, links, m.arg),
        };
        self.store(m.dst, link.into());
    }

    pub(super) fn bundle(&mut self, b: &Bundle, last: bool) {
        let ports = self.bridge.ports;
        let up = |p: &OfPort| ports.get(*p).is_some_and(|p| p.is_up());
        let chosen = match b.algorithm {
            BundleAlgorithm::ActiveBackup => b.members.iter().copied().find(up),
            BundleAlgorithm::HighestRandomWeight => {
                let hash = self.hash_of(b.fields, b.basis);
                let live = b.members.iter().enumerate().filter(|(_, p)| up(p));
                let weight = |(i, _): &(usize, &OfPort)| mix(hash.into(), *i as u128);
                live.max_by_key(weight).map(|(_, p)| *p)
            }
        };
        match b.dst {
            Some(dst) => self.store(dst, chosen.map_or(OfPort::ANY, |p| p).0.into()),
            None => {
                if let Some(port) = chosen {
                    self.output(port, u16::MAX, last);
                }
            }
        }
    }
}

fn highest(hash: u32, links: std::ops::Range<u32>) -> u32 {
    links.max_by_key(|link| mix(hash.into(), (*link).into())).unwrap_or(0)
}

/// Hashes until the outcome is a link, within a modulus that is more than half full.
fn iterate(hash: u32, links: u32, modulus: u32) -> u32 {
    let modulus = if modulus < links || modulus / 2 > links { links.next_power_of_two() } else { modulus };
    let modulus = u64::from(modulus.max(1));
    // More than every other draw is one; after so many, take what there is.
    let draws = (0u128..64).map(|i| (mix(hash.into(), i) % modulus) as u32);
    draws.into_iter().find(|link| *link < links).unwrap_or(hash % links)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn links_are_within_bounds_and_all_are_used() {
        for links in [1, 2, 3, 7, 64] {
            let mut used = vec![0; links as usize];
            for hash in 0..4096u32 {
                let hash = hash.wrapping_mul(0x9e37_79b9);
                used[highest(hash, 0..links) as usize] += 1;
                used[iterate(hash, links, 0) as usize] += 1;
            }
            assert!(used.iter().all(|n| *n > 0), "{links}: {used:?}");
        }
    }

    #[test]
    fn few_are_disturbed_when_a_link_is_added() {
        let moved = (0..4096u32).filter(|h| highest(h * 77, 0..8) != highest(h * 77, 0..9)).count();
        assert!((300..650).contains(&moved), "{moved}");
    }
}
