//! How the owner sees to threads.

use super::{Cleared, Seat, Worker, Workers};
use crate::action::PortNo;
use crate::dpif::{DpFlow, Dpif, DpifError};
use crate::threads::{Core, Performance, Settings, ThreadId, Threads, Watch, WorkerInfo, WorkerQueue};

impl Threads for Workers {
    fn configure(&mut self, settings: Settings) {
        let before = std::mem::replace(&mut self.settings, settings);
        let before = std::mem::replace(&mut self.is_configured, true).then_some(before);
        self.tell_of_settings(before.as_ref());
        for (core, worker) in &self.crew {
            worker.shared.set_max_sleep(self.settings.sleep_of(*core));
            worker.shared.set_metrics(self.settings.metrics);
        }
        self.arrange();
    }

    fn settings(&self) -> &Settings {
        &self.settings
    }

    fn pin(&mut self, port: PortNo, pins: Vec<(usize, u32)>) -> Result<(), DpifError> {
        self.ports.get_mut(&port).ok_or(DpifError::NoSuchPort(port))?.pins = pins.into_iter().collect();
        self.arrange();
        Ok(())
    }

    fn rebalance(&mut self) -> usize {
        let seats = |all: &Workers| -> Vec<Seat> { all.ports.values().flat_map(|place| place.seats.clone()).collect() };
        let before = seats(self);
        self.arranged = None;
        self.arrange();
        before.iter().zip(seats(self)).filter(|(before, after)| *before != after).count()
    }

    fn threads(&self) -> Vec<ThreadId> {
        std::iter::once(ThreadId::Main).chain(self.crew.keys().map(|core| ThreadId::Core(*core))).collect()
    }

    fn crew_over(&self, intervals: usize) -> Vec<WorkerInfo> {
        let info = |(core, worker): (&u32, &Worker)| {
            let thread = ThreadId::Core(*core);
            let queues = self.ports.iter().flat_map(|(port, place)| {
                let nanos = |queue| self.balancer.load_of((*port, queue), intervals);
                let of = move |queue| (port, place.name.clone(), queue, nanos(queue));
                place.queues_of(thread).into_iter().map(of)
            });
            let mut queues: Vec<WorkerQueue> =
                queues.map(|(port, name, queue, nanos)| WorkerQueue { port: *port, name, queue, nanos }).collect();
            queues.sort_by(|a, b| (&a.name, a.queue).cmp(&(&b.name, b.queue)));
            let (busy, total) = self.balancer.busy_of(*core, intervals);
            WorkerInfo {
                core: Core { core: *core, numa: worker.numa },
                isolated: worker.isolated,
                max_sleep: self.settings.sleep_of(*core),
                queues,
                busy,
                total,
            }
        };
        self.crew.iter().map(info).collect()
    }

    fn flows_of(&self, thread: ThreadId) -> Vec<DpFlow> {
        let mut flows = self.look(thread, |dp| dp.flow_dump()).and_then(|flows| flows).unwrap_or_default();
        for flow in flows.iter_mut().filter(|flow| self.is_first_holder(thread, flow.ufid)) {
            self.cards.add(flow);
        }
        flows
    }

    fn performance(&self, thread: ThreadId) -> Option<Performance> {
        let (shared, cleared) = match thread {
            ThreadId::Main => (&self.main_report, self.main_cleared),
            ThreadId::Core(core) => self.crew.get(&core).map(|worker| (&worker.shared, worker.cleared))?,
        };
        let (now, before) = (self.look(thread, |dp| dp.work()).ok()?, cleared.work);
        let since = |now: u64, before: u64| now.saturating_sub(before);
        let hits = since(now.stats.hits, before.stats.hits);
        let missed = since(now.stats.missed, before.stats.missed);
        // A packet that came with its megaflow's mark is not counted as found otherwise.
        let marked = since(now.marked, before.marked).min(hits);
        let cached = since(now.cached, before.cached).min(hits - marked);
        Some(Performance {
            since: cleared.at,
            perf: shared.report().perf.clone(),
            received: since(now.received, before.received),
            passes: hits + missed,
            cached,
            marked,
            found: hits - cached - marked,
            probes: since(now.stats.probes.unwrap_or(0), before.stats.probes.unwrap_or(0)),
            missed,
            lost: since(now.stats.lost, before.stats.lost),
            sent_packets: since(now.sent_packets, before.sent_packets),
            sent_batches: since(now.sent_batches, before.sent_batches),
        })
    }

    fn clear_perf(&mut self, thread: ThreadId) {
        let Ok(work) = self.look(thread, |dp| dp.work()) else { return };
        let cleared = Cleared { at: (self.hooks.clock)(), work };
        match thread {
            ThreadId::Main => {
                self.main_report.clear_perf();
                self.main_cleared = cleared;
            }
            ThreadId::Core(core) => {
                if let Some(worker) = self.crew.get_mut(&core) {
                    worker.shared.clear_perf();
                    worker.cleared = cleared;
                }
            }
        }
    }

    fn watch(&self) -> Watch {
        self.watch
    }

    fn set_watch(&mut self, watch: Watch) {
        self.watch = watch.bounded();
        self.crew.values().for_each(|worker| worker.shared.set_watch(watch));
    }
}
