// The benchmark's driver over objects of its own process, on a time of its own: the machine has no part in it, and the
// same order gives the same figures.
//
//   driver ══ batches ══► ModelObject × K ── told, WORD_MS each way ──► the first of them
//   readings of engines, each every SCRAPE_MS ──► all of them

import type { ShardTold } from "../../src/durable/shards/contract.ts";
import type { ShardMap } from "../../src/scheduler/shards/contracts.ts";
import { MODEL } from "../conversation.ts";
import { Driver, type DriveOrder, type DriveReport } from "./driver.ts";
import { addressOf, ModelObject, SCRAPE_MS } from "./model-object.ts";
import { onVirtualTime } from "./virtual-time.ts";

/** From the reading of an engine to the objects. */
const SCRAPE_TRAVEL_MS = 5;
/** Of a word between objects. */
const WORD_MS = 1;

export interface ModelOrder extends Omit<DriveOrder, "objects" | "model"> {
  readonly shards: number;
  /** At most 254. */
  readonly endpoints: number;
  /** What the first object has found out before; else it begins without splits. */
  readonly map?: ShardMap;
}

/** What the driver reports of such a pool. */
export function driveModel(order: ModelOrder): Promise<DriveReport> {
  return onVirtualTime(async () => {
    const { shards: count, endpoints, seed, map } = order;
    const objects: ModelObject[] = [];
    const lead = {
      async tellLead(_address: string, told: ShardTold) {
        await pause(WORD_MS);
        const answer = objects[0]!.told(structuredClone(told));
        await pause(WORD_MS);
        return structuredClone(answer);
      },
    };
    for (let index = 0; index < count; index++)
      objects.push(new ModelObject({ index, count, endpoints, seed, lead, map }));
    const env = { POOL: { getByName: (name: string) => objects[Number(name)]! } };
    const names = objects.map((_, index) => String(index));
    const driver = new Driver(env, { ...order, objects: names, model: MODEL });
    const read = (endpoint: number) => driver.running.get(addressOf(endpoint)) ?? 0;
    readInTurns(endpoints, read, objects);
    await pause(SCRAPE_MS + SCRAPE_TRAVEL_MS);
    return driver.run();
  });
}

/** All within SCRAPE_MS, one after the other. */
function readInTurns(
  endpoints: number,
  read: (endpoint: number) => number,
  objects: readonly ModelObject[],
): void {
  const scrape = (endpoint: number): void => {
    const running = read(endpoint);
    const atMs = Date.now();
    const told = () => objects.forEach((object) => object.sampled(endpoint, running, atMs));
    setTimeout(told, SCRAPE_TRAVEL_MS);
    setTimeout(() => scrape(endpoint), SCRAPE_MS);
  };
  for (let endpoint = 0; endpoint < endpoints; endpoint++)
    setTimeout(() => scrape(endpoint), (SCRAPE_MS * endpoint) / endpoints);
}

function pause(ms: number): Promise<void> {
  return new Promise((resolve) => void setTimeout(resolve, ms));
}
