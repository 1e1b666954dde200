// A cluster of a run, as running.json has it.

import { z } from "zod";

/** What `fairlead chaos` must know of a cluster, as running.json has it. No secrets. */
export const clusterSchema = z.object({
  name: z.string(),
  region: z.string(),
  rttMs: z.number(),
  /** Names of processes by what they are. */
  processes: z.object({
    engines: z.array(z.string()),
    agents: z.array(z.string()),
    relays: z.array(z.string()),
    /** The one that holds its pool's object. */
    object: z.string(),
    /** The one that its links are in. */
    links: z.string(),
  }),
  /** Names of links. */
  links: z.object({ requests: z.string(), agents: z.string() }),
  /** `host:port` of its endpoints, as x-fairlead-endpoint names them. */
  endpoints: z.array(z.string()),
});
export type Cluster = z.output<typeof clusterSchema>;
