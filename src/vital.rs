//! Tasks that the process can't be without. One that panics is gone, and what it did isn't done any more, while everything
//! looks healthy: the process ends instead, for its manager to start it anew.

use tokio::task::JoinHandle;

/// The exit code after a fault of our own (EX_SOFTWARE).
const EXIT_FAULT: i32 = 70;

/// Ends the process should this task panic. `what` follows "the".
pub fn supervise(what: &'static str, task: JoinHandle<()>) {
    tokio::spawn(async move {
        if has_panicked(task).await {
            end(what);
        }
    });
}

/// Ends the process after a panic, which is logged already.
pub fn end(what: &'static str) -> ! {
    tracing::error!("the {what} panicked, which is a fault of Resound: ending");
    std::process::exit(EXIT_FAULT)
}

/// Tasks that come to their end, or are ended, are as they should be.
async fn has_panicked(task: JoinHandle<()>) -> bool {
    task.await.is_err_and(|error| error.is_panic())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn only_a_panic_is_a_fault() {
        let panics = tokio::spawn(async { panic!("a fault that a test has put here") });
        assert!(has_panicked(panics).await);
        assert!(!has_panicked(tokio::spawn(async {})).await);
        let aborted = tokio::spawn(std::future::pending());
        aborted.abort();
        assert!(!has_panicked(aborted).await);
    }
}
