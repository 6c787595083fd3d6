//! The cores that threads may run on, and the NUMA nodes that they belong to.

use std::collections::BTreeMap;
use std::fmt;

/// A core of the machine.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Core {
    /// Its number.
    pub core: u32,
    /// The NUMA node that it belongs to.
    pub numa: u32,
}

/// The most cores of a machine.
const MAX_CORES: usize = 4096;

/// Which cores there are. What they are is the owner's to say: nobody here asks the system.
///
/// ```
/// use ovs_dpif::threads::Topology;
///
/// let machine: Topology = "0,0,1,1".parse()?;
/// assert_eq!((machine.cores().count(), machine.nodes().count()), (4, 2));
/// let firsts: Vec<u32> = machine.first_of_each_node().map(|core| core.core).collect();
/// assert_eq!(firsts, [0, 2]);
/// let masked: Vec<u32> = machine.masked("0xc")?.map(|core| core.core).collect();
/// assert_eq!(masked, [2, 3]);
/// # Ok::<(), ovs_dpif::threads::TopologyError>(())
/// ```
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct Topology {
    /// The node of each core.
    cores: BTreeMap<u32, u32>,
}

/// Why cores or a mask of them are not written so.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TopologyError {
    /// A node that is no number.
    #[error("'{0}' is no number of a NUMA node")]
    BadNode(String),
    /// Too many cores.
    #[error("more than {MAX_CORES} cores")]
    TooMany,
    /// A mask that is not hexadecimal.
    #[error("invalid cpu mask: {0}")]
    BadMask(char),
}

impl Topology {
    /// These cores.
    pub fn new(cores: impl IntoIterator<Item = Core>) -> Topology {
        Topology { cores: cores.into_iter().map(|Core { core, numa }| (core, numa)).collect() }
    }

    /// So many cores, all of one node.
    pub fn uniform(cores: u32) -> Topology {
        Topology::new((0..cores).map(|core| Core { core, numa: 0 }))
    }

    /// The cores, by number.
    pub fn cores(&self) -> impl Iterator<Item = Core> {
        self.cores.iter().map(|(core, numa)| Core { core: *core, numa: *numa })
    }

    /// The nodes, by number, and how many cores each has.
    pub fn nodes(&self) -> impl Iterator<Item = (u32, usize)> {
        let mut nodes: BTreeMap<u32, usize> = BTreeMap::new();
        self.cores.values().for_each(|numa| *nodes.entry(*numa).or_default() += 1);
        nodes.into_iter()
    }

    /// The core of a number.
    pub fn core(&self, core: u32) -> Option<Core> {
        Some(Core { core, numa: *self.cores.get(&core)? })
    }

    /// The first core of each node.
    pub fn first_of_each_node(&self) -> impl Iterator<Item = Core> {
        let first = |(node, _)| self.cores().find(|core| core.numa == node);
        self.nodes().filter_map(first)
    }

    /// The cores of a mask in hexadecimal digits (`pmd-cpu-mask`), of those that there are.
    ///
    /// # Errors
    /// If a digit is none.
    pub fn masked(&self, mask: &str) -> Result<impl Iterator<Item = Core>, TopologyError> {
        let digits = mask.strip_prefix("0x").or_else(|| mask.strip_prefix("0X")).unwrap_or(mask);
        let digits: Vec<u32> =
            digits.chars().rev().map(|c| c.to_digit(16).ok_or(TopologyError::BadMask(c))).collect::<Result<_, _>>()?;
        let is_set = move |core: &Core| {
            let digit = usize::try_from(core.core / 4).ok().and_then(|place| digits.get(place));
            digit.is_some_and(|digit| digit >> (core.core % 4) & 1 != 0)
        };
        Ok(self.cores().filter(is_set))
    }
}

impl std::str::FromStr for Topology {
    type Err = TopologyError;

    /// Reads the node of each core, with commas (`--dummy-numa`).
    fn from_str(text: &str) -> Result<Topology, TopologyError> {
        let nodes = text.split([',', ' ']).map(str::trim).filter(|word| !word.is_empty());
        let nodes: Vec<u32> = nodes
            .map(|word| word.parse().map_err(|_| TopologyError::BadNode(word.into())))
            .collect::<Result<_, _>>()?;
        if nodes.len() > MAX_CORES {
            return Err(TopologyError::TooMany);
        }
        Ok(Topology::new((0..).zip(nodes).map(|(core, numa)| Core { core, numa })))
    }
}

impl fmt::Display for Topology {
    /// How many there are, in a line.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} NUMA nodes and {} CPU cores", self.nodes().count(), self.cores.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nodes_need_not_follow_one_another() {
        let machine: Topology = "0, 0,8".parse().unwrap();
        assert_eq!(machine.core(2), Some(Core { core: 2, numa: 8 }));
        assert_eq!(machine.to_string(), "2 NUMA nodes and 3 CPU cores");
        assert_eq!("0,x".parse::<Topology>(), Err(TopologyError::BadNode("x".into())));
        assert_eq!("0,".repeat(MAX_CORES + 1).parse::<Topology>(), Err(TopologyError::TooMany));
    }

    #[test]
    fn masks_are_long_and_name_what_there_is() {
        let machine = Topology::uniform(70);
        let of = |mask: &str| machine.masked(mask).map(|cores| cores.map(|c| c.core).collect::<Vec<_>>());
        assert_eq!(of("200000000000000001"), Ok(vec![0, 69]));
        assert_eq!(of("0Xf0000000000000000000000000001"), Ok(vec![0]));
        assert_eq!(of(""), Ok(vec![]));
        assert_eq!(of("0x1g"), Err(TopologyError::BadMask('g')));
    }
}
