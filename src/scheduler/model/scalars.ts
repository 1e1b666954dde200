// Numbers that a pool's configuration names: custom metrics of engines, GPU utilization, the averages
// of other clusters. One column an attribute key, as with every other fact of an endpoint.

/** Attribute keys of one pool; the wire's rows have room for no more. */
export const SCALARS_MAX = 8;
/** Beyond it, either way, a value is unknown: squares and sums over a pool must stay finite. */
export const SCALAR_MAGNITUDE_MAX = 1e30;

/** One column a key, each as long as the table. NaN: unknown. */
export class Scalars {
  readonly #slots: number;
  #columns = new Map<string, Float64Array>();

  constructor(slots: number) {
    this.#slots = slots;
  }

  get keys(): readonly string[] {
    return [...this.#columns.keys()];
  }

  /** Undefined for a key that the configuration does not name. */
  column(key: string): Float64Array | undefined {
    return this.#columns.get(key);
  }

  /**
   * Says which keys there are from now on, at most SCALARS_MAX of them. Columns of keys that stay
   * keep their values; the others are forgotten.
   */
  define(keys: readonly string[]): void {
    const columns = new Map<string, Float64Array>();
    for (const key of keys.slice(0, SCALARS_MAX)) {
      const known = this.#columns.get(key);
      columns.set(key, known ?? new Float64Array(this.#slots).fill(Number.NaN));
    }
    this.#columns = columns;
  }

  /** Takes values over; a key that is not defined is left out, NaN makes a value unknown. */
  apply(slot: number, values: ReadonlyMap<string, number>): void {
    for (const [key, value] of values) {
      const column = this.#columns.get(key);
      const isUsable = Math.abs(value) <= SCALAR_MAGNITUDE_MAX;
      if (column !== undefined) column[slot] = isUsable ? value : Number.NaN;
    }
  }

  clear(slot: number): void {
    for (const column of this.#columns.values()) column[slot] = Number.NaN;
  }
}
