// What whoever configures upstreams should know, though it stands.

import type { PoolConfig } from "./deployment.ts";

interface UpstreamNote {
  readonly path: readonly (string | number)[];
  readonly message: string;
}

export function upstreamNotes({ upstreams }: Pick<PoolConfig, "upstreams">): UpstreamNote[] {
  return upstreams.flatMap((upstream, u) => {
    const { binding, url, apiKey, kind } = upstream;
    const notes: UpstreamNote[] = [];
    if (binding !== undefined)
      notes.push({
        path: [u, "binding"],
        message: `Worker and objects need the binding ${binding} in wrangler.toml; without it the upstream is never asked`,
      });
    if (/\/v1\/?$/.test(url))
      notes.push({
        path: [u, "url"],
        message: "ends in /v1, and so do the paths that are added to it",
      });
    if (apiKey === undefined && kind !== "gateway")
      notes.push({ path: [u], message: "has no apiKey: it is asked without one" });
    return notes;
  });
}
