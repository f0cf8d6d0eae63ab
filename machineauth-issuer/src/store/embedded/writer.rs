//! The one thread that writes: everything that waits shares one transaction and one disk sync.

use std::io;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use machineauth_core::clock::Clock;
use tokio::sync::oneshot;

use super::file::DatabaseFile;
use super::tables::Tables;
use crate::store::changes::Changes;
use crate::store::piece::Piece;
use crate::store::verdict::Verdict;
use crate::store::{Batch, Log, Outcome, Partition, StoreError};

/// How many jobs share a transaction at most, which bounds how long the first of them waits.
const GROUP: usize = 1024;
/// How often a file that was closed by an error is tried again when nobody asks for anything.
const RETRY: Duration = Duration::from_secs(1);

/// Something to write, and where the answer goes once it is on disk.
enum Job {
    Commit(Batch, oneshot::Sender<Result<Outcome, StoreError>>),
    Sweep(Partition, usize, oneshot::Sender<Result<usize, StoreError>>),
    Trim(
        Partition,
        Log,
        u64,
        oneshot::Sender<Result<usize, StoreError>>,
    ),
    Load(
        Partition,
        Vec<Piece>,
        oneshot::Sender<Result<usize, StoreError>>,
    ),
    Erase(Partition, oneshot::Sender<Result<usize, StoreError>>),
    Close(oneshot::Sender<Result<(), StoreError>>),
}

/// The thread's mailbox. When the last one is dropped the thread finishes what it has and ends.
#[derive(Debug)]
pub(super) struct Writer {
    jobs: Option<Sender<Job>>,
    thread: Option<JoinHandle<()>>,
}

impl Writer {
    pub(super) fn start(
        file: Arc<DatabaseFile>,
        clock: Arc<dyn Clock>,
        changes: Arc<Changes>,
    ) -> io::Result<Writer> {
        let (jobs, mailbox) = channel();
        let thread = WriterThread {
            file,
            clock,
            changes,
        };
        let thread = thread::Builder::new()
            .name("store-writer".to_owned())
            .spawn(move || thread.run(&mailbox))?;
        Ok(Writer {
            jobs: Some(jobs),
            thread: Some(thread),
        })
    }

    pub(super) async fn commit(&self, batch: &Batch) -> Result<Outcome, StoreError> {
        self.ask(|answer| Job::Commit(batch.clone(), answer)).await
    }

    pub(super) async fn sweep(
        &self,
        partition: Partition,
        limit: usize,
    ) -> Result<usize, StoreError> {
        self.ask(|answer| Job::Sweep(partition, limit, answer))
            .await
    }

    pub(super) async fn trim(
        &self,
        partition: Partition,
        log: Log,
        through: u64,
    ) -> Result<usize, StoreError> {
        self.ask(|answer| Job::Trim(partition, log, through, answer))
            .await
    }

    pub(super) async fn load(
        &self,
        partition: Partition,
        pieces: &[Piece],
    ) -> Result<(), StoreError> {
        self.ask(|answer| Job::Load(partition, pieces.to_vec(), answer))
            .await
            .map(drop)
    }

    pub(super) async fn erase(&self, partition: Partition) -> Result<(), StoreError> {
        self.ask(|answer| Job::Erase(partition, answer))
            .await
            .map(drop)
    }

    pub(super) async fn close(&self) -> Result<(), StoreError> {
        self.ask(Job::Close).await
    }

    async fn ask<T>(
        &self,
        job: impl FnOnce(oneshot::Sender<Result<T, StoreError>>) -> Job,
    ) -> Result<T, StoreError> {
        let (answer, answered) = oneshot::channel();
        let sent = self.jobs.as_ref().map(|jobs| jobs.send(job(answer)));
        if !matches!(sent, Some(Ok(()))) {
            return Err(closed());
        }
        answered.await.unwrap_or_else(|_| Err(closed()))
    }
}

impl Drop for Writer {
    /// Waits for the thread, at most one disk sync, so that whoever opens the file next finds it free.
    fn drop(&mut self) {
        self.jobs = None;
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

struct WriterThread {
    file: Arc<DatabaseFile>,
    clock: Arc<dyn Clock>,
    changes: Arc<Changes>,
}

impl WriterThread {
    fn run(&self, mailbox: &Receiver<Job>) {
        loop {
            let first = match mailbox.recv_timeout(RETRY) {
                Ok(job) => job,
                Err(RecvTimeoutError::Timeout) => {
                    self.heal();
                    continue;
                }
                Err(RecvTimeoutError::Disconnected) => return,
            };
            let mut group = vec![first];
            group.extend(mailbox.try_iter().take(GROUP - 1));
            if let Some(closing) = self.work(group) {
                self.file.close();
                let _ = closing.send(Ok(()));
                return;
            }
        }
    }

    /// Does a group of jobs; gives back who wants the store closed.
    fn work(&self, group: Vec<Job>) -> Option<oneshot::Sender<Result<(), StoreError>>> {
        self.heal();
        let done = self.file.with(|database| {
            let transaction = database.begin_write()?;
            let results = {
                let mut tables = Tables::open(&transaction)?;
                group
                    .iter()
                    .map(|job| self.apply(job, &mut tables))
                    .collect::<Result<Vec<Done>, redb::Error>>()?
            };
            if results.iter().any(Done::has_written) {
                transaction.commit()?;
            } else {
                transaction.abort()?;
            }
            Ok(results)
        });
        match done {
            Ok(results) => self.answer(group, &results),
            Err(error) => {
                let closing = refuse(group, error);
                // Whether the group reached the disk is unknown until the file was opened again.
                if let Err(error) = self.file.reopen() {
                    tracing::error!(%error, "the store's file cannot be opened again yet");
                }
                closing
            }
        }
    }

    fn apply(&self, job: &Job, tables: &mut Tables<'_>) -> Result<Done, redb::Error> {
        let now = self.clock.now();
        Ok(match job {
            Job::Commit(batch, _) => Done::Judged(tables.commit(batch, now)?),
            Job::Sweep(partition, limit, _) => {
                Done::Counted(tables.sweep(*partition, now, *limit)?)
            }
            Job::Trim(partition, log, through, _) => {
                Done::Counted(tables.trim(*partition, *log, *through)?)
            }
            Job::Load(partition, pieces, _) => {
                tables.load(*partition, pieces)?;
                Done::Counted(pieces.len())
            }
            Job::Erase(partition, _) => {
                tables.erase(*partition)?;
                Done::Counted(1)
            }
            Job::Close(_) => Done::Counted(0),
        })
    }

    fn answer(
        &self,
        group: Vec<Job>,
        results: &[Done],
    ) -> Option<oneshot::Sender<Result<(), StoreError>>> {
        let mut closing = None;
        let mut grown = Vec::new();
        for (job, done) in group.into_iter().zip(results) {
            // An answer that nobody waits for any more is no loss: the caller went away.
            match (job, *done) {
                (Job::Commit(batch, answer), Done::Judged(verdict)) => {
                    if verdict == Verdict::Apply {
                        grown.extend(batch.appended());
                    }
                    let _ = answer.send(Ok(verdict.outcome()));
                }
                (
                    Job::Sweep(.., answer)
                    | Job::Trim(.., answer)
                    | Job::Load(.., answer)
                    | Job::Erase(.., answer),
                    Done::Counted(count),
                ) => {
                    let _ = answer.send(Ok(count));
                }
                (Job::Close(answer), _) => closing = Some(answer),
                (Job::Commit(..), Done::Counted(_))
                | (
                    Job::Sweep(..) | Job::Trim(..) | Job::Load(..) | Job::Erase(..),
                    Done::Judged(_),
                ) => {
                    unreachable!("each job is done as what it is")
                }
            }
        }
        grown.sort_unstable();
        grown.dedup();
        grown.into_iter().for_each(|log| self.changes.moved(log));
        closing
    }

    fn heal(&self) {
        if !self.file.is_open()
            && let Err(error) = self.file.reopen()
        {
            tracing::debug!(%error, "the store's file cannot be opened yet");
        }
    }
}

/// What a job did inside the transaction.
#[derive(Clone, Copy)]
enum Done {
    Judged(Verdict),
    Counted(usize),
}

impl Done {
    fn has_written(&self) -> bool {
        match self {
            Done::Judged(verdict) => *verdict == Verdict::Apply,
            Done::Counted(count) => *count > 0,
        }
    }
}

/// Tells everybody in a group that it failed.
fn refuse(group: Vec<Job>, error: StoreError) -> Option<oneshot::Sender<Result<(), StoreError>>> {
    let error: Arc<StoreError> = Arc::new(error);
    let failure = || match &*error {
        StoreError::Corrupt { what } => StoreError::Corrupt { what },
        _ => StoreError::unavailable(Arc::clone(&error)),
    };
    let mut closing = None;
    for job in group {
        match job {
            Job::Commit(_, answer) => drop(answer.send(Err(failure()))),
            Job::Sweep(.., answer)
            | Job::Trim(.., answer)
            | Job::Load(.., answer)
            | Job::Erase(.., answer) => drop(answer.send(Err(failure()))),
            Job::Close(answer) => closing = Some(answer),
        }
    }
    closing
}

fn closed() -> StoreError {
    StoreError::unavailable("the store was closed")
}
