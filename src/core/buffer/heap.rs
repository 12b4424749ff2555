//! A binary heap with exactly the order of Python's `heapq`, for a comparison that may fail.
//!
//! The same moves as `heapq`'s `_siftdown` and `_siftup` (the hole goes down to a leaf along the smaller children, then the item
//! rises), so that equal and partly ordered items come out as the standard library gives them. The algorithm is Floyd's, by way of
//! Knuth, TAOCP volume 3, section 5.2.3 exercise 18. A comparison that fails leaves the heap with every item in it, in the
//! arrangement that `heapq` leaves.

/// Adds `item`. On an error the item is in the heap all the same, as with `heapq.heappush`.
pub fn push<T, E>(heap: &mut Vec<T>, item: T, less: impl FnMut(&T, &T) -> Result<bool, E>) -> Result<(), E> {
    heap.push(item);
    let last = heap.len() - 1;
    rise(heap, 0, last, less)
}

/// Takes the smallest item. On an error in the comparison the item that would have been returned is handed back beside it, for the
/// caller to drop: `heapq.heappop` has removed it by then.
pub fn pop<T, E>(heap: &mut Vec<T>, less: impl FnMut(&T, &T) -> Result<bool, E>) -> Option<(T, Result<(), E>)> {
    let last = heap.pop()?;
    if heap.is_empty() {
        return Some((last, Ok(())));
    }
    let smallest = std::mem::replace(&mut heap[0], last);
    let outcome = sink(heap, 0, less);
    Some((smallest, outcome))
}

/// The item at `pos` rises while it is smaller than its parent, not above `start`.
fn rise<T, E>(heap: &mut [T], start: usize, mut pos: usize, mut less: impl FnMut(&T, &T) -> Result<bool, E>) -> Result<(), E> {
    while pos > start {
        let parent = (pos - 1) / 2;
        if !less(&heap[pos], &heap[parent])? {
            break;
        }
        heap.swap(pos, parent);
        pos = parent;
    }
    Ok(())
}

/// The item at `start` sinks to a leaf, smaller children rising, and rises from there to its place.
fn sink<T, E>(heap: &mut [T], start: usize, mut less: impl FnMut(&T, &T) -> Result<bool, E>) -> Result<(), E> {
    let end = heap.len();
    let mut pos = start;
    let mut child = 2 * pos + 1;
    while child < end {
        let right = child + 1;
        if right < end && !less(&heap[child], &heap[right])? {
            child = right;
        }
        heap.swap(pos, child);
        pos = child;
        child = 2 * pos + 1;
    }
    rise(heap, start, pos, less)
}
