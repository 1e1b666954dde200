// What a frame of an agent means for the pool: who may tell it, and to which event it comes.
//
// Reports of tickets are no part of it: they are judged by their numbers first, which a connection keeps.

import type { Hello } from "../agents/protocol/messages.ts";
import type { Clock } from "../scheduler/support/clock.ts";
import type { AgentEvents } from "./agent-events.ts";
import type { AgentFrame, CompleteRow } from "./agent-frames.ts";
import { toScrape } from "./metrics-rows.ts";

type ToldFrame = Exclude<AgentFrame, { kind: "ignored" }>;

/** Who may tell what. */
const TOLD_BY = {
  membership: { role: "collector", what: "lists endpoints" },
  metrics: { role: "collector", what: "tells metrics" },
  models: { role: "collector", what: "tells models" },
  kv: { role: "collector", what: "tells of KV caches" },
  "kv-offer": { role: "collector", what: "tells of KV caches" },
  resources: { role: "collector", what: "tells resources" },
  tickets: { role: "relay", what: "reports tickets" },
  marks: { role: "relay", what: "marks endpoints" },
  started: { role: "relay", what: "tells what has begun" },
} as const satisfies Record<ToldFrame["kind"], { role: Hello["role"]; what: string }>;

/** Why an agent may not tell this, in words for its log; undefined where it may. */
export function notAllowed({ role }: Hello, { kind }: ToldFrame): string | undefined {
  const told = TOLD_BY[kind];
  return told.role === role ? undefined : `only a ${told.role} ${told.what}`;
}

/** Who tells a frame, and which of its frames it is. */
interface FrameSource {
  readonly agent: string;
  readonly seq: number;
  readonly bytes: number;
}

export class ToldFrames {
  readonly #events: AgentEvents;
  readonly #clock: Clock;

  constructor(events: AgentEvents, clock: Clock) {
    this.#events = events;
    this.#clock = clock;
  }

  /** False where the pool has too many collectors for this one's endpoints. */
  tell(
    { agent, seq, bytes }: FrameSource,
    frame: Exclude<ToldFrame, { kind: "tickets" }>,
  ): boolean {
    const events = this.#events;
    switch (frame.kind) {
      case "membership":
        return events.claimed(agent, frame.endpoints);
      case "metrics":
        this.#scraped(frame.rows);
        break;
      case "marks":
        frame.marks.forEach((mark) => events.marked(mark));
        break;
      case "models":
        frame.served.forEach((served) => events.served(served));
        break;
      case "started":
        events.started(frame.tickets);
        break;
      case "kv":
        events.kvReceived(agent, frame.sections, { seq, bytes });
        break;
      case "kv-offer":
        events.kvOffered(agent, frame.offer);
        break;
      case "resources":
        events.resourcesTold(frame.resources);
        break;
    }
    return true;
  }

  #scraped(rows: readonly CompleteRow[]): void {
    const nowMs = this.#clock();
    for (const row of rows) this.#events.scraped(row.endpoint.address, toScrape(row, nowMs));
  }
}
