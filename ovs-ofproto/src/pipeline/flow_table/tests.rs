//! The tables against a list of flows that is searched from end to end.

use proptest::prelude::*;

use super::*;
use crate::flow_mod::{FlowMod, FlowModCommand, FlowModFlags};
use crate::pipeline::group::GroupTable;
use crate::pipeline::meter::MeterTable;
use crate::text::Parser;

struct Bench {
    tables: FlowTables,
    groups: GroupTable,
    meters: MeterTable,
}

impl Bench {
    fn new() -> Bench {
        Bench { tables: FlowTables::new(), groups: GroupTable::default(), meters: MeterTable::default() }
    }

    fn modify(&mut self, fm: &FlowMod, log: &mut Log) -> Result<(), FlowModError> {
        let known = Known { groups: &self.groups, meters: &self.meters };
        self.tables.modify(fm, known, Instant::ZERO, log)
    }

    fn go_on(&mut self, pending: &mut Pending, log: &mut Log) {
        let known = Known { groups: &self.groups, meters: &self.meters };
        let mut effort = usize::MAX;
        self.tables.go_on(pending, known, Instant::ZERO, log, &mut effort).unwrap();
    }

    fn change(&mut self, command: FlowModCommand, flow: &str) -> Result<Vec<(u64, RemovedReason)>, FlowModError> {
        let fm = Parser::default().flow_mod(flow, command).unwrap_or_else(|e| panic!("{flow}: {e}"));
        let mut log = Log::default();
        self.modify(&fm, &mut log)?;
        Ok(self.commit(log))
    }

    fn commit(&mut self, mut log: Log) -> Vec<(u64, RemovedReason)> {
        let mut ended = Vec::new();
        self.tables.complete(&mut log);
        let mut sweep = self.tables.flip(log);
        let mut effort = usize::MAX;
        assert!(self.tables.sweep(&mut sweep, &mut effort, true, |flow, reason| ended.push((flow.cookie, reason))));
        self.tables.check();
        ended
    }

    fn cookies(&self) -> Vec<u64> {
        self.tables.iter().map(|(_, f)| f.cookie).collect()
    }
}

use FlowModCommand::{Add, Delete, DeleteStrict, Modify};

#[test]
fn a_full_table_evicts_who_is_least_important_of_the_largest_group() {
    let mut b = Bench::new();
    let config = TableConfig {
        limit: Some(3),
        evict_by: Some(vec![Subfield::whole(ovs_packet::field::FieldId::InPortOxm)]),
        ..TableConfig::default()
    };
    assert!(b.tables.configure(0, config.clone()));
    b.change(Add, "in_port=1,dl_vlan=1,cookie=1,importance=5,hard_timeout=10,actions=drop").unwrap();
    b.change(Add, "in_port=1,dl_vlan=2,cookie=2,importance=4,hard_timeout=20,actions=drop").unwrap();
    b.change(Add, "in_port=2,cookie=3,importance=1,hard_timeout=5,actions=drop").unwrap();
    let evicted = b.change(Add, "in_port=3,cookie=4,hard_timeout=5,actions=drop").unwrap();
    assert_eq!(evicted, [(2, RemovedReason::Eviction)]);
    b.change(Delete, "").unwrap();
    // Flows that do not end by themselves stay; then the table is full.
    for n in 1..=3 {
        b.change(Add, &format!("in_port={n},cookie={n},actions=drop")).unwrap();
    }
    assert_eq!(b.change(Add, "in_port=9,idle_timeout=1,actions=drop"), Err(FlowModError::TableFull(0)));
    assert_eq!(b.cookies(), [1, 2, 3]);
    // One that is there already takes no more room.
    b.change(Add, "in_port=2,cookie=7,idle_timeout=1,actions=output:1").unwrap();
    let mut log = Log::default();
    b.tables.configure(0, TableConfig { limit: Some(1), ..config });
    assert!(!b.tables.trim(9, &mut log));
    assert_eq!(b.commit(log), [(7, RemovedReason::Eviction)]);
}

#[test]
fn an_idle_flow_that_is_used_is_evicted_later() {
    let mut b = Bench::new();
    let config = TableConfig { limit: Some(2), evict_by: Some(Vec::new()), ..TableConfig::default() };
    b.tables.configure(0, config);
    b.change(Add, "in_port=1,cookie=1,idle_timeout=10,actions=drop").unwrap();
    b.change(Add, "in_port=2,cookie=2,idle_timeout=20,actions=drop").unwrap();
    let first = b.tables.iter().find(|(_, f)| f.cookie == 1).unwrap().0;
    b.tables.credit(first, 1, 1, Instant::from_secs(15));
    let evicted = b.change(Add, "in_port=3,cookie=3,idle_timeout=10,actions=drop").unwrap();
    assert_eq!(evicted, [(2, RemovedReason::Eviction)]);
}

#[test]
fn flows_that_were_learnt_end_with_the_last_that_learns_them() {
    let mut b = Bench::new();
    let learn = "learn(table=1,cookie=0x7,delete_learned,NXM_OF_ETH_DST[]=NXM_OF_ETH_SRC[])";
    b.change(Add, &format!("in_port=1,cookie=1,actions={learn}")).unwrap();
    b.change(Add, &format!("in_port=2,cookie=2,actions={learn}")).unwrap();
    b.change(Add, "table=1,cookie=7,dl_vlan=1,actions=drop").unwrap();
    b.change(Add, "table=2,cookie=7,dl_vlan=1,actions=drop").unwrap();
    assert_eq!(b.change(Delete, "in_port=1").unwrap(), [(1, RemovedReason::Delete)]);
    let last = b.change(Modify, "in_port=2,actions=drop").unwrap();
    assert_eq!(last, [(7, RemovedReason::Delete)]);
    assert_eq!(b.cookies(), [2, 7]);
}

#[test]
fn flows_end_with_their_group_or_meter_and_hidden_ones_are_not_named() {
    let mut b = Bench::new();
    let mut log = Log::default();
    let drop = Instructions::default();
    let id = b.tables.add_hidden(0, Match::ANY, 70_000, drop.clone(), Instant::ZERO, &mut log).unwrap();
    b.commit(log);
    assert_eq!(b.change(Delete, "").unwrap(), []);
    assert_eq!(b.change(Add, "actions=group:1"), Err(FlowModError::NoGroup(1)));
    assert_eq!(b.change(Add, "actions=meter:1"), Err(FlowModError::NoMeter(1)));
    assert_eq!(b.change(Add, "table=254,actions=drop"), Err(FlowModError::ReadOnly(254)));
    let mut gm = crate::codec::GroupMod::default();
    gm.desc.group = 1;
    b.groups.modify(&gm, Instant::ZERO).unwrap();
    b.change(Add, "cookie=3,actions=clone(group:1),group:1").unwrap();
    let other_group = FlowMod { command: Delete, out_group: 2, ..FlowMod::default() };
    let mut log = Log::default();
    b.modify(&other_group, &mut log).unwrap();
    assert_eq!((b.tables.naming_group(1), b.commit(log)), (1, vec![]));
    let mut log = Log::default();
    let mut users = b.tables.users_of_group(1);
    b.go_on(&mut users, &mut log);
    assert_eq!(b.commit(log), [(3, RemovedReason::GroupDelete)]);
    let mut log = Log::default();
    let again = b.tables.add_hidden(0, Match::ANY, 70_000, drop, Instant::ZERO, &mut log).unwrap();
    b.commit(log);
    assert!(again != id && b.tables.len() == 1 && b.tables.take_changes().removed.contains(&id));
}

#[test]
fn changes_are_told_one_by_one_and_then_as_everything() {
    let mut b = Bench::new();
    b.change(Add, "in_port=1,actions=drop").unwrap();
    let added = b.tables.take_changes();
    assert_eq!((added.everything, added.added.len(), added.removed.len()), (false, 1, 0));
    b.change(Modify, "actions=output:1").unwrap();
    let modified = b.tables.take_changes();
    assert_eq!((modified.added.len(), &modified.removed), (0, &added.added));
    for n in 0..1200 {
        b.change(Add, &format!("dl_vlan={n},actions=drop")).unwrap();
    }
    assert!(b.tables.take_changes().everything && !b.tables.has_changes());
}

/// A flow-mod of few matches, priorities and cookies, so that they meet.
fn flow_mods() -> impl Strategy<Value = FlowMod> {
    let matches =
        prop::sample::select(vec!["", "in_port=1", "in_port=2", "in_port=1,dl_vlan=3", "tcp", "tcp,tp_dst=80"]);
    let flags =
        prop::sample::select(vec![FlowModFlags::empty(), FlowModFlags::CHECK_OVERLAP, FlowModFlags::RESET_COUNTS]);
    let command = prop::sample::select(vec![Add, Add, Add, Modify, FlowModCommand::ModifyStrict, Delete, DeleteStrict]);
    let actions =
        prop::sample::select(vec!["drop", "output:1", "output:2", "learn(table=1,cookie=0x1,delete_learned)"]);
    (command, 0u8..3, matches, 0u16..3, 0u64..3, prop::sample::select(vec![0, u64::MAX]), flags, actions).prop_map(
        |(command, table, matching, priority, cookie, cookie_mask, flags, actions)| FlowMod {
            command,
            table: if table == 2 && matches!(command, Delete | Modify) { ALL_TABLES } else { table },
            matching: matching.parse().unwrap(),
            priority,
            cookie,
            cookie_mask: if command == Add { 0 } else { cookie_mask },
            idle_timeout: cookie as u16,
            flags,
            instructions: Instructions::apply(Parser::default().actions(actions).unwrap()),
            ..FlowMod::default()
        },
    )
}

/// A flow as the list has it.
type Listed = (u8, Match, u16, u64, Instructions);

/// What a modification does to a list of flows. False if it is refused.
fn list_modify(list: &mut Vec<Listed>, fm: &FlowMod, limit: usize) -> bool {
    let strict = matches!(fm.command, FlowModCommand::ModifyStrict | DeleteStrict);
    let named = |f: &Listed| {
        (fm.table == ALL_TABLES || fm.table == f.0)
            && (if strict { f.1 == fm.matching && f.2 == fm.priority } else { f.1.is_within(&fm.matching) })
            && (f.3 ^ fm.cookie) & fm.cookie_mask == 0
    };
    match fm.command {
        Add => {
            let same = |f: &Listed| f.0 == fm.table && f.1 == fm.matching && f.2 == fm.priority;
            let overlaps = |f: &Listed| f.0 == fm.table && f.2 == fm.priority && f.1.overlaps(&fm.matching);
            let known = list.iter().any(same);
            if !known && fm.flags.contains(FlowModFlags::CHECK_OVERLAP) && list.iter().any(overlaps) {
                return false;
            }
            if !known && list.iter().filter(|f| f.0 == fm.table).count() >= limit {
                return false;
            }
            list.retain(|f| !same(f));
            list.push((fm.table, fm.matching.clone(), fm.priority, fm.cookie, fm.instructions.clone()));
        }
        Modify | FlowModCommand::ModifyStrict => {
            list.iter_mut().filter(|f| named(f)).for_each(|f| f.4 = fm.instructions.clone());
        }
        Delete | DeleteStrict => list.retain(|f| !named(f)),
    }
    true
}

fn sorted(mut list: Vec<Listed>) -> Vec<String> {
    list.sort_by_key(|f| (f.0, f.2, f.1.to_string()));
    list.iter().map(|f| format!("{f:?}")).collect()
}

fn of(tables: &FlowTables) -> Vec<String> {
    let listed = |f: Flow| (f.table, f.matching, f.priority as u16, f.cookie, Instructions::clone(&f.instructions));
    sorted(tables.iter().map(|(_, f)| listed(f)).collect())
}

/// Learners end the flows that they learnt, which the list does not know.
fn learns(fm: &FlowMod) -> bool {
    !fm.instructions.apply.is_empty() && matches!(fm.instructions.apply[0], crate::action::Action::Learn(_))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    #[test]
    fn modifications_do_as_the_list_does(fms in prop::collection::vec(flow_mods(), 1..24), limit in 1usize..6) {
        let (mut b, mut list) = (Bench::new(), Vec::new());
        for n in 0..3 {
            b.tables.configure(n, TableConfig { limit: Some(limit), ..TableConfig::default() });
        }
        for fm in fms.iter().filter(|fm| !learns(fm)) {
            let mut log = Log::default();
            let done = b.modify(fm, &mut log);
            prop_assert_eq!(done.is_ok(), list_modify(&mut list, fm, limit), "{:?}: {:?}", fm.command, done);
            b.commit(log);
            prop_assert_eq!(of(&b.tables), sorted(list.clone()));
        }
    }

    #[test]
    fn what_is_taken_back_leaves_no_trace(
        before in prop::collection::vec(flow_mods(), 0..8),
        bundle in prop::collection::vec(flow_mods(), 1..16),
        after in prop::collection::vec(flow_mods(), 0..8),
        evicts in any::<bool>(),
    ) {
        let (mut b, mut twin) = (Bench::new(), Bench::new());
        for b in [&mut b, &mut twin] {
            let config = TableConfig { limit: Some(3), evict_by: evicts.then(Vec::new), ..TableConfig::default() };
            assert!((0..3).all(|n| b.tables.configure(n, config.clone())));
        }
        let apply = |b: &mut Bench, fm: &FlowMod| {
            let mut log = Log::default();
            let done = b.modify(fm, &mut log);
            (done, b.commit(log))
        };
        for fm in &before {
            prop_assert_eq!(apply(&mut b, fm), apply(&mut twin, fm));
        }
        let was = of(&b.tables);
        let mut log = Log::default();
        for fm in &bundle {
            let _ = b.modify(fm, &mut log);
        }
        b.tables.undo(&mut log, 0);
        b.tables.check();
        prop_assert_eq!(of(&b.tables), was);
        for fm in &after {
            prop_assert_eq!(apply(&mut b, fm), apply(&mut twin, fm));
        }
        prop_assert_eq!(of(&b.tables), of(&twin.tables));
        for t in &b.tables.tables {
            t.eviction.iter().for_each(|e| e.check());
        }
    }

    #[test]
    fn a_bundle_does_as_its_messages_one_by_one(fms in prop::collection::vec(flow_mods(), 1..24)) {
        let (mut b, mut twin) = (Bench::new(), Bench::new());
        let mut bundle = Log::default();
        for fm in fms.iter().filter(|fm| !learns(fm)) {
            let mut log = Log::default();
            prop_assert_eq!(b.modify(fm, &mut bundle), twin.modify(fm, &mut log));
            twin.commit(log);
        }
        b.commit(bundle);
        prop_assert_eq!(of(&b.tables), of(&twin.tables));
    }
}
