// Endpoint numbers of a prefix journal. A number names one life of an endpoint: it is given when the
// endpoint is first learned of and is void once the endpoint has left, so that records about it need
// not be looked for. Numbers are never given twice; the row that holds them says which is next. It
// also says how large each cache is, which nobody else knows before the first sample.

import { z } from "zod";
import { ENDPOINTS_MAX, type EndpointTable } from "../../scheduler/model/endpoint-table.ts";
import { NO_SLOT } from "../tickets/ticket.ts";

const rowSchema = z.object({
  next: z.int().positive(),
  endpoints: z
    .array(
      z.object({
        number: z.int().positive(),
        id: z.string(),
        address: z.string(),
        kvCapacityTokens: z.number().nonnegative(),
      }),
    )
    .max(ENDPOINTS_MAX),
});
type Row = z.output<typeof rowSchema>;

export class JournalEndpoints {
  readonly #table: EndpointTable;
  /** By slot; 0 for none. */
  readonly #numbers = new Uint32Array(ENDPOINTS_MAX);
  readonly #slots = new Map<number, number>();
  #next = 1;
  #isDirty = false;

  constructor(table: EndpointTable) {
    this.#table = table;
  }

  /** Whether the stored row differs from `toRow`. */
  get isDirty(): boolean {
    return this.#isDirty;
  }

  /**
   * Takes over a stored row: numbers whose endpoint is in the table, at the same address, are valid
   * again, and `onEndpoint` is told the size of its cache. False if the row cannot be read; then no
   * record can be told apart from another's.
   */
  restore(row: unknown, onEndpoint: (slot: number, kvCapacityTokens: number) => void): boolean {
    const parsed = rowSchema.safeParse(row);
    if (!parsed.success) return false;
    this.#next = parsed.data.next;
    for (const { number, id, address, kvCapacityTokens } of parsed.data.endpoints) {
      const slot = this.#table.slotOf(id);
      if (slot === undefined || this.#table.endpoint(slot)?.address !== address) {
        this.#isDirty = true;
        continue;
      }
      this.#numbers[slot] = number;
      this.#slots.set(number, slot);
      onEndpoint(slot, kvCapacityTokens);
    }
    return true;
  }

  /** The number of an endpoint, given now if it has none. */
  numberOf(slot: number): number {
    const known = this.#numbers[slot]!;
    if (known !== 0) return known;
    const number = this.#next++;
    this.#numbers[slot] = number;
    this.#slots.set(number, slot);
    this.#isDirty = true;
    return number;
  }

  isNumbered(slot: number): boolean {
    return this.#numbers[slot] !== 0;
  }

  /** NO_SLOT for a number that is void. */
  slotOf(number: number): number {
    return this.#slots.get(number) ?? NO_SLOT;
  }

  /** A cache may have another size than the stored row says. */
  resized(): void {
    this.#isDirty = this.#slots.size > 0;
  }

  removed(slot: number): void {
    const number = this.#numbers[slot]!;
    if (number === 0) return;
    this.#numbers[slot] = 0;
    this.#slots.delete(number);
    this.#isDirty = true;
  }

  /** The row to store; it counts as stored then. */
  takeRow(): Row {
    this.#isDirty = false;
    const endpoints = Array.from(this.#slots, ([number, slot]) => {
      const { id, address } = this.#table.endpoint(slot)!;
      const kvCapacityTokens = this.#table.columns.kvCapacityTokens[slot]!;
      return { number, id, address, kvCapacityTokens };
    });
    return { next: this.#next, endpoints };
  }
}
