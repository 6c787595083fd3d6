//! The classifier's tables against lists that are read from one end to the other.

use arbitrary::{Result, Unstructured};
use ovs_classifier::{Classifier, Field, Layout, MegaflowTable, Pattern, Version};

const W: usize = 4;
type Key = [u64; W];

/// Two bits of every byte: few values, so that keys meet.
fn key(u: &mut Unstructured) -> Result<Key> {
    let byte: u8 = u.arbitrary()?;
    Ok(std::array::from_fn(|i| u64::from(byte >> (2 * i) & 3)))
}

/// No bit, one bit, all that occur, all there are.
fn pattern(u: &mut Unstructured) -> Result<Pattern<W>> {
    let kinds: u8 = u.arbitrary()?;
    let mask = std::array::from_fn(|i| [0, 1, 3, u64::MAX][usize::from(kinds >> (2 * i) & 3)]);
    Ok(Pattern::new(key(u)?, mask))
}

/// Inserts, removals and lookups: the answers are those of a list, and any key that agrees with the one looked up on
/// the bits that were tracked gets the same answer.
pub fn classifier(data: &[u8]) {
    let _ = rules(&mut Unstructured::new(data));
}

fn rules(u: &mut Unstructured) -> Result<()> {
    let stages: u8 = u.arbitrary()?;
    let layout = Layout::new(std::array::from_fn(|i| stages >> (2 * i) & 3)).expect("stages are 0 to 3");
    // Fields of two bits, that occur, so that there are guards.
    let fields: Vec<Field> = (0..4).filter_map(|word| Field::new(word * 64 + 62, 2)).collect();
    let layout = layout.with_fields(&fields).and_then(|l| l.with_ports(fields[3])).expect("fields of the key");
    let mut table = Classifier::with_seed(layout, u.arbitrary::<u8>()?.into());
    let mut list: Vec<(Pattern<W>, i32, usize)> = Vec::new();
    for id in 0.. {
        if u.is_empty() || id == 512 {
            return Ok(());
        }
        match u.int_in_range(0..=9)? {
            8 => {
                let chosen: u8 = u.arbitrary()?;
                let chosen: Vec<_> = (0..4).filter(|i| chosen >> i & 1 != 0).map(|i| fields[i]).collect();
                table.set_prefix_fields(&chosen).expect("four fields of the key at most");
            }
            9 if !list.is_empty() => {
                // Hidden now: seen before, not since, and gone when reclaimed.
                let (pattern, priority, id) = list.remove(u.choose_index(list.len())?);
                let handle = table.find_exact(&pattern, priority).expect("it is in the list").handle();
                assert!(table.hide(handle, Version(1)));
                let payload = |version| table.at(version).find_exact(&pattern, priority).map(|r| *r.payload());
                assert_eq!((payload(Version(0)), payload(Version(1))), (Some(id), None));
                assert_eq!(table.reclaim(Version(1)), 1);
            }
            0..=2 => {
                let (pattern, priority) = (pattern(u)?, u.int_in_range(0..=3)?);
                let known = list.iter_mut().find(|r| r.0 == pattern && r.1 == priority);
                let before = known.map(|r| std::mem::replace(&mut r.2, id));
                if before.is_none() {
                    list.push((pattern.clone(), priority, id));
                }
                assert_eq!(table.insert(&pattern, priority, id), Ok(before));
            }
            3 if !list.is_empty() => {
                let (pattern, priority, id) = list.remove(u.choose_index(list.len())?);
                assert_eq!(table.remove(&pattern, priority), Some(id));
            }
            4 => {
                let pattern = pattern(u)?;
                let covered: Vec<_> = list.iter().filter(|r| pattern.covers(&r.0)).map(|r| r.2).collect();
                let mut found: Vec<_> = table.iter_matching(&pattern).map(|r| *r.payload()).collect();
                found.sort_unstable();
                let mut expected = covered;
                expected.sort_unstable();
                assert_eq!(found, expected);
                let priority = u.int_in_range(0..=3)?;
                let overlaps = list.iter().any(|r| r.1 == priority && r.0.overlaps(&pattern));
                assert_eq!(table.overlaps(&pattern, priority), overlaps);
            }
            _ => {
                let key = key(u)?;
                let mut read = [0; W];
                let found = table.lookup_tracked(&key, &mut read).map(|r| (r.priority(), *r.payload()));
                let best = list.iter().filter(|r| r.0.matches(&key)).map(|r| r.1).max();
                assert_eq!(found.map(|f| f.0), best);
                if let Some((_, id)) = found {
                    assert!(list.iter().any(|r| r.2 == id && r.0.matches(&key)));
                }
                assert_eq!(table.lookup(&key).map(|r| *r.payload()), found.map(|f| f.1));
                let flips: [u64; W] = u.arbitrary()?;
                for flip in [flips, flips.map(|f| f & 3), [3; W], [u64::MAX; W]] {
                    let other = std::array::from_fn(|i| key[i] ^ flip[i] & !read[i]);
                    assert_eq!(table.lookup(&other).map(|r| *r.payload()), found.map(|f| f.1), "unsound wildcards");
                }
            }
        }
        assert_eq!(table.len(), list.len());
    }
    Ok(())
}

/// A table of megaflows: what is found is there and matches, what is not found is not there, no handle comes back.
pub fn megaflow_table(data: &[u8]) {
    let _ = megaflows(&mut Unstructured::new(data));
}

fn megaflows(u: &mut Unstructured) -> Result<()> {
    let mut table = MegaflowTable::with_seed(u.arbitrary::<u8>()?.into());
    let (mut list, mut gone) = (Vec::<(Pattern<W>, _, usize)>::new(), Vec::new());
    for id in 0.. {
        if u.is_empty() || id == 512 {
            return Ok(());
        }
        match u.int_in_range(0..=6)? {
            0..=2 => {
                let pattern = pattern(u)?;
                let (handle, before) = table.insert(&pattern, id).expect("no limit");
                assert!(!gone.contains(&handle));
                match list.iter_mut().find(|(p, ..)| *p == pattern) {
                    Some((_, known, payload)) => {
                        assert_eq!((*known, before), (handle, Some(std::mem::replace(payload, id))));
                    }
                    None => {
                        assert_eq!(before, None);
                        list.push((pattern, handle, id));
                    }
                }
            }
            3 if !list.is_empty() => {
                let (_, handle, id) = list.swap_remove(u.choose_index(list.len())?);
                assert_eq!(table.remove_handle(handle), Some(id));
                gone.push(handle);
            }
            4 => table.rank(),
            _ => {
                let keys = (0..u.int_in_range(1..=40)?).map(|_| key(u)).collect::<Result<Vec<_>>>()?;
                let mut found = vec![None; keys.len()];
                table.lookup_batch(&keys.iter().collect::<Vec<_>>(), &mut found);
                for (key, found) in keys.iter().zip(found) {
                    match found {
                        Some(handle) => assert!(list.iter().any(|(p, h, _)| *h == handle && p.matches(key))),
                        None => assert!(!list.iter().any(|(p, ..)| p.matches(key))),
                    }
                }
            }
        }
        assert!(gone.iter().all(|handle| table.get(*handle).is_none()));
        assert_eq!(table.len(), list.len());
    }
    Ok(())
}
