// InferenceObjectives and InferenceModelRewrites of a pool, as its cluster has them. Neither need be there:
// without their definitions, or without the right to read them, the pool's endpoints are followed all the same.
//
//   llm-d.ai/v1alpha2                          where it is defined, it alone counts
//   inference.networking.x-k8s.io/v1alpha2     the group before
//
// Source: llm-d-router pkg/epp/controller. What it says is judged by the pool's object; here only what
// would not fit a frame is left out.

import { z } from "zod";
import { PROTOCOL_LIMITS } from "../../protocol/limits.ts";
import type { ResourcesPayload } from "../../protocol/resources.ts";
import type { ToldResources } from "../endpoint-source.ts";
import type { ViewOptions } from "./cluster-view.ts";
import type { PoolGroup } from "./inference-pool.ts";
import { metadataSchema } from "./object.ts";
import { Reflector } from "./reflector.ts";

const GROUPS = ["llm-d.ai", "inference.networking.x-k8s.io"] as const;
const VERSION = "v1alpha2";
/** Definitions and rights come with installations, not by the minute. */
const ABSENT_RETRY_MS = 60_000;

type Kind = "objectives" | "rewrites";
type Resource = NonNullable<ResourcesPayload[Kind]>[number];

/** `age`: when it was created, as a text that orders; its name decides between two of one time. */
interface AgedResource {
  readonly age: string;
  readonly resource: Resource;
}
type Fields = Readonly<Record<string, unknown>>;

const KINDS = {
  objectives: {
    title: "InferenceObjective",
    plural: "inferenceobjectives",
    fields: ({ priority }: Fields) => ({ priority: priority ?? 0 }),
    max: PROTOCOL_LIMITS.objectivesMax,
  },
  rewrites: {
    title: "InferenceModelRewrite",
    plural: "inferencemodelrewrites",
    // The time counts where two match.
    fields: ({ rules }: Fields, created: Fields) => ({ ...created, rules }),
    max: PROTOCOL_LIMITS.rewritesMax,
  },
} as const;

const resourceSchema = z.object({
  metadata: metadataSchema.extend({ creationTimestamp: z.string().nullish() }),
  spec: z.looseObject({
    poolRef: z.object({
      group: z.string().default("inference.networking.k8s.io"),
      kind: z.string().default("InferencePool"),
      name: z.string(),
    }),
  }),
});

/** What a change of resources waits for is the caller's; `absentRetryMs` is for tests. */
export interface ResourcesViewOptions extends ViewOptions {
  readonly group: PoolGroup;
  readonly absentRetryMs?: number;
}

export class ResourcesView implements ToldResources {
  readonly #objectives: KindView;
  readonly #rewrites: KindView;

  constructor(options: ResourcesViewOptions) {
    this.#objectives = new KindView("objectives", options);
    this.#rewrites = new KindView("rewrites", options);
  }

  current(): ResourcesPayload {
    // One budget: objectives are small, and rewrites have what they leave.
    const budget = { bytes: PROTOCOL_LIMITS.resourcesBytesMax - 64 };
    const objectives = this.#objectives.told(budget);
    const rewrites = this.#rewrites.told(budget);
    return {
      ...(objectives === undefined ? {} : { objectives }),
      ...(rewrites === undefined ? {} : { rewrites }),
    };
  }

  /** How each kind is, for people: what is missing, and what is left out. */
  get notes(): readonly string[] {
    return [this.#objectives, this.#rewrites].flatMap(({ note }) => note ?? []);
  }

  close(): void {
    this.#objectives.close();
    this.#rewrites.close();
  }
}

class KindView {
  readonly #kind: Kind;
  /** One for each of GROUPS. */
  readonly #reflectors: readonly Reflector<AgedResource>[];
  #leftOut = 0;

  constructor(kind: Kind, options: ResourcesViewOptions) {
    this.#kind = kind;
    const { namespace, absentRetryMs = ABSENT_RETRY_MS } = options;
    this.#reflectors = GROUPS.map(
      (group) =>
        new Reflector({
          ...options,
          absentRetryMs,
          path: `/apis/${group}/${VERSION}/namespaces/${namespace}/${KINDS[kind].plural}`,
          query: {},
          parse: (object) => parseResource(kind, options, object),
        }),
    );
    for (const reflector of this.#reflectors) void reflector.run();
  }

  get note(): string | undefined {
    const { title, max } = KINDS[this.#kind];
    const { isAbsent, trouble, leftOut } = this.#source;
    if (trouble !== undefined) return `no news of ${title}s: ${trouble}`;
    if (isAbsent) return `the cluster has no definition of ${title}`;
    const beyond = this.#leftOut + leftOut;
    return beyond === 0
      ? undefined
      : `${beyond} ${title}s are left out: a pool has at most ${max}, in ${PROTOCOL_LIMITS.resourcesBytesMax} bytes`;
  }

  /**
   * Those that name the pool, the oldest first. Undefined while that is not known: what was told before
   * stays, rather than what a collector that is cut off remembers.
   */
  told(budget: { bytes: number }): Resource[] | undefined {
    const { items, heardAtMs, trouble } = this.#source;
    if (heardAtMs === undefined || trouble !== undefined) return undefined;
    const ordered = [...items.values()].sort(
      (a, b) => compareText(a.age, b.age) || compareText(a.resource.name, b.resource.name),
    );
    const told: Resource[] = [];
    for (const { resource } of ordered) {
      const bytes = Buffer.byteLength(JSON.stringify(resource)) + 1;
      if (told.length >= KINDS[this.#kind].max || bytes > budget.bytes) continue;
      budget.bytes -= bytes;
      told.push(resource);
    }
    this.#leftOut = ordered.length - told.length;
    return told;
  }

  close(): void {
    for (const reflector of this.#reflectors) reflector.close();
  }

  /** The first group that the cluster has, or may have; else it has neither. */
  get #source(): Reflector<AgedResource> {
    return this.#reflectors.find(({ isAbsent }) => !isAbsent) ?? this.#reflectors[0]!;
  }
}

/** Undefined for one of another pool, one that is being deleted, and what is no resource. */
function parseResource(
  kind: Kind,
  { name: pool, group }: ResourcesViewOptions,
  object: unknown,
): AgedResource | undefined {
  const parsed = resourceSchema.safeParse(object);
  if (!parsed.success) return undefined;
  const { metadata, spec } = parsed.data;
  const { poolRef } = spec;
  const isOfPool =
    poolRef.name === pool && poolRef.kind === "InferencePool" && poolRef.group === group;
  if (!isOfPool || (metadata.deletionTimestamp ?? "") !== "") return undefined;
  const { name, creationTimestamp } = metadata;
  const created = creationTimestamp == null ? {} : { creationTimestamp };
  // Times of one precision and zone order as texts. Any time comes before "~".
  const age = creationTimestamp ?? "~";
  return { age, resource: { name, ...KINDS[kind].fields(spec, created) } };
}

/** By code units: the same on every machine. */
function compareText(a: string, b: string): number {
  return a < b ? -1 : a > b ? 1 : 0;
}
