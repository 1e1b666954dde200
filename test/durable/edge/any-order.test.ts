// A pool's object against a naive account: isolates and a relay tell it of the same requests in any order, each
// perhaps twice, perhaps not at all.

import { reset, runInDurableObject } from "cloudflare:test";
import fc from "fast-check";
import { afterEach, describe, expect, it } from "vitest";
import { poolStub, poolWithEndpoints, TestAgent, until } from "../pool-client.ts";
import { askAbout, closedOf, localCommit, openedOf, sync } from "./support.ts";

const RUNS = 12;
const REQUESTS = 4;

afterEach(() => reset());

type Event = {
  readonly what: "commit" | "asked" | "opened" | "closed" | "left";
  readonly n: number;
};

const event: fc.Arbitrary<Event> = fc.record({
  what: fc.constantFrom("commit", "asked", "opened", "closed", "left"),
  n: fc.nat(REQUESTS - 1),
});

/** What should be: whose load is charged, and how many are settled. */
class Account {
  readonly #told = new Set<number>();
  readonly #carried = new Set<number>();
  readonly #closed = new Set<number>();

  /** Who leaves has said nothing of what a relay has. */
  apply({ what, n }: Event): void {
    if (what === "closed") this.#closed.add(n);
    else if (what === "opened") this.#carried.add(n);
    else if (what === "commit" || what === "asked") this.#told.add(n);
  }

  isCarried(n: number): boolean {
    return this.#carried.has(n);
  }

  get settled(): number {
    return this.#closed.size;
  }

  get open(): number {
    const charged = new Set([...this.#told, ...this.#carried]);
    return [...charged].filter((n) => !this.#closed.has(n)).length;
  }
}

describe("an object that hears of the same requests from isolates and a relay", () => {
  it("charges each once, and settles each that has ended once", async () => {
    await fc.assert(
      fc
        .asyncProperty(fc.array(event, { maxLength: 16 }), async (events) => {
          await poolWithEndpoints(1);
          const relay = await TestAgent.greeted({ role: "relay", agent: "relay-0" });
          const account = new Account();
          const answers: unknown[] = [];
          let frames = 0;
          for (const told of events) {
            const commit = localCommit(told.n);
            const { ticket, attempt } = commit;
            account.apply(told);
            if (told.what === "commit") await sync({ commits: [commit] });
            else if (told.what === "asked") answers.push((await askAbout(commit)).ok);
            else if (told.what === "left") {
              // Of one that no relay has, the load would leave after a while that a busy machine may take.
              const ends = [{ ticket, attempt, how: "left" }];
              if (account.isCarried(told.n)) await sync({ ends });
            } else {
              const report = told.what === "opened" ? openedOf(commit) : closedOf(commit);
              // Nobody's load: it shows that the frame has been read.
              relay.reports([report, openedOf(mark(++frames))]);
            }
            await until(async () => (await openTickets()) === account.open + frames);
          }
          // There is nobody else.
          expect(answers.filter((ok) => ok !== "kept")).toEqual([]);
          const { endpoints } = await poolStub().state();
          expect(endpoints[0]!.inFlightRequests).toBe(account.open);
          await until(async () => (await settledRequests()) === account.settled);
        })
        .afterEach(() => reset()),
      { numRuns: RUNS, endOnFailure: true },
    );
  }, 60_000);
});

const openTickets = async () => (await poolStub().state()).tickets.open;

const mark = (n: number) => localCommit(1_000 + n, { endpoints: ["10.9.9.9:8000"] });

/** For good. */
const settledRequests = () =>
  runInDurableObject(poolStub(), (_, { storage }) => {
    const [row] = storage.sql.exec("SELECT TOTAL(requests) AS requests FROM usage").toArray();
    return row!["requests"];
  });
