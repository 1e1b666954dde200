// A pool's scheduling configuration within a deployment. It is held as it was written, and completed
// where it is used: what was left open follows the release, and a thousand defaults are not stored.
// See docs/decisions/016-scheduling-as-written.md.

import { z } from "zod";
import {
  type LoadedSchedulerConfig,
  loadSchedulerConfig,
  type SchedulerConfigIssue,
} from "../scheduler/config/load.ts";
import type { SchedulerConfig } from "../scheduler/config/scheduler-config.ts";

type JsonScalar = string | number | boolean | null;
type JsonOf<Inner> = JsonScalar | readonly Inner[] | { readonly [key: string]: Inner };
/** JSON of bounded depth: a recursive type is too much for the types of Cloudflare's RPC. */
type JsonValue = JsonOf<JsonOf<JsonOf<JsonOf<JsonOf<JsonOf<JsonScalar>>>>>>;

/** An EndpointPickerConfig as somebody wrote it. `{}` stands for our default. */
export type SchedulerDocument = { readonly [field: string]: JsonValue };

/** Takes anything: `schedulingIssues` tells what is wrong with it. */
export const schedulerDocumentSchema = z
  .unknown()
  .transform((document) => (document ?? {}) as SchedulerDocument);

/** What a pool says of its scheduling. Of a pool in a malformed document, anything. */
export interface WrittenScheduling {
  readonly scheduler?: unknown;
  readonly allowExperimentalPlugins?: unknown;
}

/** Every mistake; paths are within `scheduler`. */
export function schedulingIssues(written: WrittenScheduling): readonly SchedulerConfigIssue[] {
  return load(written).issues;
}

/**
 * A pool that an earlier release may have stored, with what this one can read: the default in place of
 * other scheduling, and no shadow in place of another shadow. The same object where all can be read.
 */
export function withReadableScheduling<Pool extends WrittenPool>(pool: Pool): Pool {
  const { shadow, ...others } = pool;
  const { allowExperimentalPlugins } = pool;
  const isReadable = schedulingIssues(pool).length === 0;
  const isShadowReadable =
    shadow === undefined ||
    schedulingIssues({ scheduler: shadow, allowExperimentalPlugins }).length === 0;
  if (isReadable && isShadowReadable) return pool;
  const kept = isShadowReadable ? pool : others;
  return { ...kept, ...(isReadable ? {} : { scheduler: {} }) } as Pool;
}

export interface WrittenPool extends WrittenScheduling {
  readonly shadow?: unknown;
}

/** What whoever wrote it should know, though it stands. */
export function schedulingNotes(written: WrittenScheduling): readonly SchedulerConfigIssue[] {
  return load(written).notes;
}

function load({ scheduler, allowExperimentalPlugins }: WrittenScheduling): LoadedSchedulerConfig {
  if (isNothing(scheduler)) return (loadedNothing ??= loadSchedulerConfig(scheduler));
  return loadSchedulerConfig(scheduler, {
    allowExperimentalPlugins: allowExperimentalPlugins === true,
  });
}

/** Most pools leave everything open: of these there may be hundreds. */
function isNothing(document: unknown): boolean {
  if (document === undefined || document === null) return true;
  return (
    typeof document === "object" && Object.keys(document).length === 0 && !Array.isArray(document)
  );
}
let loadedNothing: LoadedSchedulerConfig | undefined;

/** Completed ones, for as long as their documents live. */
const completed = new WeakMap<object, SchedulerConfig>();

/** A checked document, complete. The same object for the same document. */
export function effectiveScheduler(document: SchedulerDocument): SchedulerConfig {
  const config = readableScheduler(document);
  if (config === undefined)
    throw new Error("invariant broken: an unchecked scheduling configuration");
  return config;
}

/** As effectiveScheduler, of a document that another release has checked; undefined: cannot be read. */
export function readableScheduler(document: SchedulerDocument): SchedulerConfig | undefined {
  const known = completed.get(document);
  if (known !== undefined) return known;
  const { config } = load({ scheduler: document, allowExperimentalPlugins: true });
  if (config !== undefined) completed.set(document, config);
  return config;
}
