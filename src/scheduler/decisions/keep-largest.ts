// Which candidates of a large pool a record keeps.

/**
 * Fills `kept` with the indices of the largest of `ranks[0 .. count)`, which are more than fit, in no
 * order. `kept` is a heap with the smallest rank first, so most candidates cost one comparison.
 */
export function keepLargest(ranks: Float64Array, count: number, kept: Int32Array): void {
  for (let c = 0; c < kept.length; c++) kept[c] = c;
  for (let at = kept.length >> 1; at >= 0; at--) siftDown(ranks, kept, at);
  for (let c = kept.length; c < count; c++) {
    if (ranks[c]! <= ranks[kept[0]!]!) continue;
    kept[0] = c;
    siftDown(ranks, kept, 0);
  }
}

function siftDown(ranks: Float64Array, heap: Int32Array, from: number): void {
  const moved = heap[from]!;
  const rank = ranks[moved]!;
  let at = from;
  for (;;) {
    let child = 2 * at + 1;
    if (child >= heap.length) break;
    if (child + 1 < heap.length && ranks[heap[child + 1]!]! < ranks[heap[child]!]!) child++;
    if (ranks[heap[child]!]! >= rank) break;
    heap[at] = heap[child]!;
    at = child;
  }
  heap[at] = moved;
}
