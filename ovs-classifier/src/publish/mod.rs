//! One writer, any number of readers in other threads.
//!
//! A [`Writer`] edits a classifier that nobody else sees and publishes it when it likes: after each change, or after a
//! bundle of a million. A [`Reader`] looks up in what was published last; it never waits, and what it holds never
//! changes. How that goes without copying the table is the [kernel]'s business.
//!
//! Changes are done to two copies, one after the other, so both must do the same: the table's answers, orders and
//! handles, and where in memory it has what, follow from the sequence of changes alone. So the [log] of changes tells the
//! second copy where the first had to search.

mod kernel;
mod log;

use crate::arena::Handle;
use crate::classifier::{Classifier, Trail};
use crate::error::{InsertError, PrefixFieldsError};
use crate::field::Field;
use crate::pattern::Pattern;
use crate::rule::{NewRule, Version};
use arc_swap::{ArcSwap, Guard};
use core::fmt;
use core::ops::Deref;
use kernel::Kernel;
use log::What;
use std::sync::Arc;

/// The one who changes a classifier that others read.
///
/// Every change is done twice, to two copies of the table, so payloads are cloned: let them be small, an index or an
/// `Arc`. The memory is that of two tables. What is removed is gone when the next changes are published and the readers
/// of before have let go.
///
/// ```
/// use ovs_classifier::{Classifier, Layout, Pattern, Writer};
///
/// let mut writer = Writer::new(Classifier::new(Layout::<1>::flat()));
/// let reader = writer.reader();
/// let worker = std::thread::spawn(move || {
///     // One load for a batch of packets.
///     while reader.load().lookup(&[80]).is_none() {
///         std::thread::yield_now();
///     }
/// });
/// let mut edit = writer.edit();
/// edit.insert(&Pattern::new([80], [0xffff]), 10, "web")?;
/// edit.insert(&Pattern::any(), 0, "rest")?;
/// edit.publish();
/// worker.join().expect("the reader sees the rules at some time, and both at once");
/// # Ok::<(), ovs_classifier::InsertError>(())
/// ```
pub struct Writer<R: Clone, const W: usize> {
    kernel: Kernel<Classifier<R, W>>,
}

/// Sees what a [`Writer`] published. Clones see the same.
pub struct Reader<R, const W: usize> {
    published: Arc<ArcSwap<Classifier<R, W>>>,
}

/// A table as it was published at some time. It stays as it is; let go of it soon, since the writer has to copy the
/// table if it wants to change it again while this one is held.
pub struct Snapshot<R, const W: usize> {
    table: Guard<Arc<Classifier<R, W>>>,
}

/// Changes to a table, which nobody sees until they are [published](Self::publish).
///
/// It dereferences to the table as it is with the changes. Dropped, it keeps them for the next publication.
pub struct Edit<'a, R: Clone, const W: usize> {
    kernel: &'a mut Kernel<Classifier<R, W>>,
}

impl<R: Clone, const W: usize> Writer<R, W> {
    /// Publishes a table.
    #[must_use]
    pub fn new(table: Classifier<R, W>) -> Self {
        Self { kernel: Kernel::new(table) }
    }

    /// A reader of what is published.
    #[must_use]
    pub fn reader(&self) -> Reader<R, W> {
        Reader { published: Arc::clone(self.kernel.published()) }
    }

    /// The table as it is published.
    #[must_use]
    pub fn published(&self) -> Snapshot<R, W> {
        Snapshot { table: self.kernel.load() }
    }

    /// Begins, or goes on with, changes; waits for no one.
    ///
    /// If a reader still holds the table that was published before the last, the table is copied, and that costs its
    /// size: [`copies`](Self::copies) tells. Who would rather come back later uses [`try_edit`](Self::try_edit).
    pub fn edit(&mut self) -> Edit<'_, R, W> {
        self.kernel.edit();
        Edit { kernel: &mut self.kernel }
    }

    /// As [`edit`](Self::edit), but `None` while a reader holds the table that was published before the last.
    pub fn try_edit(&mut self) -> Option<Edit<'_, R, W>> {
        if self.kernel.is_ready() { Some(self.edit()) } else { None }
    }

    /// Shows readers all changes made so far, at once.
    pub fn publish(&mut self) {
        self.kernel.publish();
    }

    /// How many changes are made and not published.
    #[must_use]
    pub fn pending(&self) -> usize {
        self.kernel.pending().len()
    }

    /// How often the table was copied because a reader would not let go.
    #[must_use]
    pub fn copies(&self) -> u64 {
        self.kernel.copies()
    }
}

impl<R, const W: usize> Reader<R, W> {
    /// The table as it was published last: wait-free, some nanoseconds; once for a batch of lookups is enough.
    #[must_use]
    pub fn load(&self) -> Snapshot<R, W> {
        Snapshot { table: self.published.load() }
    }
}

impl<R, const W: usize> Clone for Reader<R, W> {
    fn clone(&self) -> Self {
        Self { published: Arc::clone(&self.published) }
    }
}

impl<R, const W: usize> Deref for Snapshot<R, W> {
    type Target = Classifier<R, W>;

    fn deref(&self) -> &Classifier<R, W> {
        &self.table
    }
}

impl<R: Clone, const W: usize> Edit<'_, R, W> {
    /// As [`Classifier::insert`].
    ///
    /// # Errors
    ///
    /// As there.
    pub fn insert(&mut self, pattern: &Pattern<W>, priority: i32, payload: R) -> Result<Option<R>, InsertError> {
        let (table, pending) = self.kernel.edit();
        let mut trail = Trail::default();
        let old = table.insert_along(pattern, priority, payload.clone(), &mut trail)?;
        pattern.each_used(|word, value, mask| pending.push_word(word, *value, mask));
        pending.push(What::Insert(priority, payload), trail);
        Ok(old)
    }

    /// As [`Classifier::add`].
    ///
    /// # Errors
    ///
    /// As there.
    pub fn add(&mut self, rule: NewRule<R, W>) -> Result<Handle, InsertError> {
        let (table, pending) = self.kernel.edit();
        let what = What::Add(rule.priority, rule.payload.clone(), rule.added, rule.clauses.clone());
        let (pattern, mut trail) = (rule.pattern.clone(), Trail::default());
        let handle = table.add_along(rule, &mut trail)?;
        pattern.each_used(|word, value, mask| pending.push_word(word, *value, mask));
        pending.push(what, trail);
        Ok(handle)
    }

    /// As [`Classifier::set_payload`].
    pub fn set_payload(&mut self, handle: Handle, payload: R) -> Option<R> {
        let (table, pending) = self.kernel.edit();
        let old = table.set_payload(handle, payload.clone())?;
        pending.push(What::SetPayload(handle, payload), Trail::default());
        Some(old)
    }

    /// As [`Classifier::remove`].
    pub fn remove(&mut self, pattern: &Pattern<W>, priority: i32) -> Option<R> {
        let (table, pending) = self.kernel.edit();
        let mut trail = Trail::default();
        let old = table.remove_along(pattern, priority, &mut trail)?;
        pattern.each_used(|word, value, mask| pending.push_word(word, *value, mask));
        pending.push(What::Remove, trail);
        Some(old)
    }

    /// As [`Classifier::remove_handle`].
    pub fn remove_handle(&mut self, handle: Handle) -> Option<R> {
        let (table, pending) = self.kernel.edit();
        table.get(handle)?.words().for_each(|(word, value, mask)| pending.push_word(word, value, mask));
        let mut trail = Trail::default();
        let old = table.remove_handle_along(handle, &mut trail);
        pending.push(What::Remove, trail);
        old
    }

    /// As [`Classifier::hide`].
    pub fn hide(&mut self, handle: Handle, version: Version) -> bool {
        let (table, pending) = self.kernel.edit();
        let hidden = table.hide(handle, version);
        if hidden {
            pending.push(What::Hide(handle, version), Trail::default());
        }
        hidden
    }

    /// As [`Classifier::show`].
    ///
    /// # Errors
    ///
    /// As there.
    pub fn show(&mut self, handle: Handle) -> Result<bool, InsertError> {
        let (table, pending) = self.kernel.edit();
        let shown = table.show(handle)?;
        if shown {
            pending.push(What::Show(handle), Trail::default());
        }
        Ok(shown)
    }

    /// As [`Classifier::reclaim`].
    pub fn reclaim(&mut self, version: Version) -> usize {
        let (table, pending) = self.kernel.edit();
        let reclaimed = table.reclaim(version);
        pending.push(What::Reclaim(version), Trail::default());
        reclaimed
    }

    /// As [`Classifier::set_prefix_fields`].
    ///
    /// # Errors
    ///
    /// As there.
    pub fn set_prefix_fields(&mut self, fields: &[Field]) -> Result<(), PrefixFieldsError> {
        let (table, pending) = self.kernel.edit();
        table.set_prefix_fields(fields)?;
        pending.push(What::PrefixFields(fields.into()), Trail::default());
        Ok(())
    }

    /// As [`Classifier::clear`].
    pub fn clear(&mut self) {
        let (table, pending) = self.kernel.edit();
        table.clear();
        pending.push(What::Clear, Trail::default());
    }

    /// Shows readers all changes made so far, at once.
    pub fn publish(self) {
        self.kernel.publish();
    }
}

/// The table with the changes.
impl<R: Clone, const W: usize> Deref for Edit<'_, R, W> {
    type Target = Classifier<R, W>;

    fn deref(&self) -> &Classifier<R, W> {
        self.kernel.spare()
    }
}

impl<R: Clone + fmt::Debug, const W: usize> fmt::Debug for Writer<R, W> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Writer").field("published", &*self.published()).field("pending", &self.pending()).finish()
    }
}

impl<R: fmt::Debug, const W: usize> fmt::Debug for Reader<R, W> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&*self.load(), f)
    }
}

impl<R: fmt::Debug, const W: usize> fmt::Debug for Snapshot<R, W> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&**self, f)
    }
}

impl<R: Clone + fmt::Debug, const W: usize> fmt::Debug for Edit<'_, R, W> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&**self, f)
    }
}
