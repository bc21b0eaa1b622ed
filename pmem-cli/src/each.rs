//! Many machines: several are read at once, but printed in order.

use std::num::NonZero;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};

/// The most results that are held at once for each worker. This bounds the memory, however many machines there are.
const HELD: usize = 8;

/// Calls `work` for each item, on as many threads as there are processors, and passes the results to `take` in order.
///
/// # Errors
/// Returns the first error of `take`, and stops.
pub(crate) fn in_order<I: Sync, T: Send, E>(
    items: &[I],
    work: impl Fn(&I) -> T + Sync,
    mut take: impl FnMut(T) -> Result<(), E>,
) -> Result<(), E> {
    let workers = std::thread::available_parallelism().map_or(1, NonZero::get);
    for items in items.chunks(workers * HELD) {
        let next = AtomicUsize::new(0);
        let done: Vec<Mutex<Option<T>>> = items.iter().map(|_| Mutex::new(None)).collect();
        std::thread::scope(|scope| {
            for _ in 0..workers.min(items.len()) {
                scope.spawn(|| {
                    // Take the next item that no other worker has.
                    while let Some((item, slot)) = {
                        let index = next.fetch_add(1, Ordering::Relaxed);
                        items.get(index).zip(done.get(index))
                    } {
                        let result = work(item);
                        *slot.lock().unwrap_or_else(PoisonError::into_inner) = Some(result);
                    }
                });
            }
        });
        // All workers have ended with the scope, which also passes on their panics.
        let results =
            done.into_iter().filter_map(|slot| slot.into_inner().unwrap_or_else(PoisonError::into_inner));
        results.into_iter().try_for_each(&mut take)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::in_order;

    #[test]
    fn results_come_in_order_each_once_and_an_error_ends_it() {
        for count in [0, 1, 7, 1000] {
            let items: Vec<usize> = (0..count).collect();
            let mut taken = Vec::new();
            let all = in_order(
                &items,
                |i| i * 2,
                |result| {
                    taken.push(result);
                    Ok::<_, ()>(())
                },
            );
            assert_eq!((all, taken), (Ok(()), items.iter().map(|i| i * 2).collect()));
        }
        let items: Vec<usize> = (0..1000).collect();
        let mut taken = 0;
        let ended = in_order(
            &items,
            |i| *i,
            |i| {
                taken += 1;
                if i == 5 { Err(i) } else { Ok(()) }
            },
        );
        assert_eq!((ended, taken), (Err(5), 6));
    }
}
