// A binary heap that tells each item where it lies, so that any can be removed in O(log n).
//
//   index    0 │ 1 2 │ 3 4 5 6 │ …      children of i: 2i + 1 and 2i + 2; the first precedes all

/** `precedes` is a strict order; items that neither precedes the other come in no order. */
export class IndexedHeap<Item> {
  readonly #items: Item[] = [];
  readonly #precedes: (a: Item, b: Item) => boolean;
  readonly #moved: (item: Item, index: number) => void;

  /**
   * `moved` is told where an item lies now, -1 once it is removed. Whoever keeps the index uses it
   * for removeAt and update.
   */
  constructor(precedes: (a: Item, b: Item) => boolean, moved: (item: Item, index: number) => void) {
    this.#precedes = precedes;
    this.#moved = moved;
  }

  get size(): number {
    return this.#items.length;
  }

  get first(): Item | undefined {
    return this.#items[0];
  }

  /** The item at a place: for walks down the heap, which meet no item before those that precede it. */
  at(index: number): Item | undefined {
    return this.#items[index];
  }

  /** In no order. Valid until the next change. */
  items(): readonly Item[] {
    return this.#items;
  }

  add(item: Item): void {
    this.#items.push(item);
    this.#rise(item, this.#items.length - 1);
  }

  removeAt(index: number): Item | undefined {
    const items = this.#items;
    const removed = items[index];
    if (removed === undefined) return undefined;
    const last = items.pop()!;
    this.#moved(removed, -1);
    if (last !== removed) this.#settle(last, index);
    return removed;
  }

  /** The item at `index` comes earlier or later than before. */
  update(index: number): void {
    this.#settle(this.#items[index]!, index);
  }

  #settle(item: Item, index: number): void {
    const parent = this.#items[(index - 1) >> 1];
    if (index > 0 && this.#precedes(item, parent!)) this.#rise(item, index);
    else this.#sink(item, index);
  }

  // Hot path: flow-control-* in bench/.
  #rise(item: Item, from: number): void {
    const items = this.#items;
    let index = from;
    while (index > 0) {
      const above = (index - 1) >> 1;
      const parent = items[above]!;
      if (!this.#precedes(item, parent)) break;
      items[index] = parent;
      this.#moved(parent, index);
      index = above;
    }
    items[index] = item;
    this.#moved(item, index);
  }

  // Hot path: flow-control-* in bench/.
  #sink(item: Item, from: number): void {
    const items = this.#items;
    const count = items.length;
    let index = from;
    for (let below = 2 * index + 1; below < count; below = 2 * index + 1) {
      if (below + 1 < count && this.#precedes(items[below + 1]!, items[below]!)) below += 1;
      const child = items[below]!;
      if (!this.#precedes(child, item)) break;
      items[index] = child;
      this.#moved(child, index);
      index = below;
    }
    items[index] = item;
    this.#moved(item, index);
  }
}
