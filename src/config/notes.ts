// What whoever wrote a configuration should know, though it stands.

import { findRewriteWarnings } from "../scheduler/rewrite/config.ts";
import { type ConfigIssue, type Deployment, formatPath } from "./deployment.ts";
import { queueNotes } from "./queue-notes.ts";
import { schedulingNotes } from "./scheduling.ts";
import { upstreamNotes } from "./upstream-notes.ts";

/** Of each pool in turn, then of all of them together. */
export function findNotes(deployment: Deployment): ConfigIssue[] {
  const ofPools = deployment.pools.flatMap((pool, p) => {
    const at = (section: string, path: readonly (string | number)[], message: string) => ({
      path: formatPath(["pools", p, section, ...path]),
      message,
    });
    return [
      ...findRewriteWarnings(pool.modelRewrites ?? []).map(({ path, message }) =>
        at("modelRewrites", path, message),
      ),
      ...upstreamNotes(pool).map(({ path, message }) => at("upstreams", path, message)),
      ...schedulingNotes(pool).map(({ path, message }) => at("scheduler", path, message)),
      ...(pool.shadow === undefined
        ? []
        : schedulingNotes({ ...pool, scheduler: pool.shadow }).map(({ path, message }) =>
            at("shadow", path, message),
          )),
    ];
  });
  const ofQueues = queueNotes(deployment).map(({ path, message }) => ({
    path: formatPath(path),
    message,
  }));
  return [...ofPools, ...ofQueues];
}
