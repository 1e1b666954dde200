// What the server of an engine knows of it, and of the ranks beside it.

import type { EngineHandOffs } from "./disaggregation/engine-hand-offs.ts";
import type { MeetingPlace } from "./disaggregation/meeting-place.ts";
import type { GenerationHost } from "./generation.ts";
import type { EnginePlace } from "./kv-events/engine-events.ts";

/** An engine, for requests that come to it or to another rank. */
export interface EngineHost extends GenerationHost {
  readonly handOffs: EngineHandOffs;
}

export type RankLookup = (header: string | string[] | undefined) => EngineHost | undefined;

/** Where an engine stands, and whom it knows. */
export interface ServerPlace extends EnginePlace {
  readonly meetings: MeetingPlace;
  /** The engine of which `index` is a rank, too, that is named by a header. */
  readonly rankOf: (index: number, header: string | string[]) => EngineHost | undefined;
}
