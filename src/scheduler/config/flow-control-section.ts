// The `flowControl` section: how requests are queued, and when they are let through.
//
// With its gate off it is ignored, as in llm-d, but for the saturation detector: mistakes in what it
// refers to are notes then.

import { z } from "zod";
import type { PluginRole } from "../plugin.ts";
import { present, readList } from "./document.ts";
import { type ConfigPath, Findings } from "./findings.ts";
import { SCHEDULER_LIMITS } from "./limits.ts";
import { ofRole, type PluginSet } from "./plugin-set.ts";
import { formatDuration, parseDurationMs, parseQuantity } from "./quantities.ts";
import type {
  FlowControlSpec,
  PriorityBandSpec,
  PriorityBandTemplate,
} from "./scheduler-config.ts";
import { describeFound, type Fields, readFields } from "./shape.ts";

/** llm-d's own, global-strict-fairness-policy, isolates nobody. */
const DEFAULT_FAIRNESS = "weighted-token-fairness";
const DEFAULT_ORDERING = "fcfs-ordering-policy";
const DEFAULT_USAGE_LIMIT = "static-usage-limit-policy";
const DEFAULT_DETECTOR = "utilization-detector";
/** By what each of them does. Whoever turns evictions on may have these, though they are Alpha. */
export const DEFAULT_EVICTION = {
  "eviction-filter": "sheddable-eviction-filter",
  "eviction-order": "priority-then-time-eviction-order-policy",
} as const;
const DEFAULT_REQUEST_TTL_MS = 60_000;
const BAND_BYTES_MAX = 1_000_000_000;
const BAND_REQUESTS_MAX = 5_000;

const name = z.string().max(SCHEDULER_LIMITS.nameCharsMax).nullish();
const quantity = z.union([z.number(), z.string()]).nullish();
const BAND = {
  priority: z.int().nullish(),
  maxBytes: quantity,
  maxRequests: quantity,
  maxTokens: quantity,
  defaultRequestTTL: z.string().nullish(),
  fairnessPolicyRef: name,
  orderingPolicyRef: name,
};
const DETECTOR = { pluginRef: name };
const SECTION = {
  maxBytes: quantity,
  maxRequests: quantity,
  maxTokens: quantity,
  defaultRequestTTL: z.string().nullish(),
  noEndpointRequestTTL: z.string().nullish(),
  defaultPriorityBand: z.unknown(),
  defaultNegativePriorityBand: z.unknown(),
  priorityBands: z.unknown(),
  usageLimitPolicyPluginRef: name,
  saturationDetector: z.unknown(),
  enableEviction: z.boolean().nullish(),
};

export interface FlowControlSections {
  readonly flowControl: unknown;
  /** The deprecated section of the top level. */
  readonly saturationDetector: unknown;
  /** The feature gate. */
  readonly isOn: boolean;
}

/** Fills in the default policies and the default detector. */
export function readFlowControl(
  sections: FlowControlSections,
  plugins: PluginSet,
  findings: Findings,
): FlowControlSpec {
  for (const type of [DEFAULT_ORDERING, DEFAULT_FAIRNESS, DEFAULT_USAGE_LIMIT])
    plugins.fillIn(type);
  const reader = new FlowControlReader(plugins, findings, sections.isOn);
  return reader.read(sections);
}

class FlowControlReader {
  readonly #plugins: PluginSet;
  readonly #findings: Findings;
  readonly #isOn: boolean;

  constructor(plugins: PluginSet, findings: Findings, isOn: boolean) {
    this.#plugins = plugins;
    this.#findings = findings;
    this.#isOn = isOn;
  }

  read({ flowControl, saturationDetector }: FlowControlSections): FlowControlSpec {
    const place = { path: PATH, findings: this.#findings };
    const written = readFields(SECTION, flowControl ?? {}, place) ?? {};
    const defaultRequestTTL = this.#ttl(written.defaultRequestTTL, [...PATH, "defaultRequestTTL"]);
    const ttl = defaultRequestTTL ?? formatDuration(DEFAULT_REQUEST_TTL_MS);
    const band = this.#template(written.defaultPriorityBand, "defaultPriorityBand");
    const negative = written.defaultNegativePriorityBand;
    const detector = this.#detector(written.saturationDetector, saturationDetector);
    if (present(flowControl)) this.#noteEffect(written);
    if (this.#isOn && written.enableEviction === true) this.#fillInEviction();
    return {
      maxBytes: this.#quantity(written.maxBytes, [...PATH, "maxBytes"]),
      maxRequests: this.#quantity(written.maxRequests, [...PATH, "maxRequests"]),
      ...this.#tokens(written.maxTokens, PATH),
      defaultRequestTTL: ttl,
      noEndpointRequestTTL:
        this.#ttl(written.noEndpointRequestTTL, [...PATH, "noEndpointRequestTTL"]) ?? ttl,
      defaultPriorityBand: band,
      defaultNegativePriorityBand: present(negative)
        ? this.#template(negative, "defaultNegativePriorityBand")
        : band,
      priorityBands: this.#bands(written.priorityBands),
      usageLimitPolicyPluginRef: this.#policy(
        written.usageLimitPolicyPluginRef,
        [...PATH, "usageLimitPolicyPluginRef"],
        "usage limit policy",
      ),
      saturationDetector: { pluginRef: detector },
      enableEviction: written.enableEviction ?? false,
    };
  }

  #noteEffect(written: Fields<typeof SECTION>): void {
    const others = Object.entries(written).filter(([field]) => field !== "saturationDetector");
    if (!this.#isOn && others.some(([, value]) => present(value)))
      this.#findings.note(
        PATH,
        "the flowControl feature gate is disabled: its settings are ignored, but for saturationDetector",
      );
  }

  #fillInEviction(): void {
    for (const kind of ["eviction-filter", "eviction-order"] as const)
      if (this.#plugins.ofKind(kind).length === 0) this.#plugins.fillIn(DEFAULT_EVICTION[kind]);
  }

  #bands(section: unknown): PriorityBandSpec[] {
    const place = { path: [...PATH, "priorityBands"], findings: this.#findings };
    const list = readList(section, SCHEDULER_LIMITS.priorityBandsMax, place) ?? [];
    const priorities = new Set<number>();
    return list.map((written, i) => {
      const path = [...place.path, i];
      const { priority, ...band } = this.#band(written, path);
      if (priorities.has(priority))
        this.#findings.mistake([...path, "priority"], `duplicate priority ${priority}`);
      priorities.add(priority);
      return { priority, ...band };
    });
  }

  #template(section: unknown, field: string): PriorityBandTemplate {
    const path = [...PATH, field];
    const { priority, ...band } = this.#band(section ?? {}, path);
    if (priority !== 0)
      this.#findings.note(
        [...path, "priority"],
        "no effect: the band is for every priority not listed",
      );
    return band;
  }

  #band(section: unknown, path: ConfigPath): PriorityBandSpec {
    const written = readFields(BAND, section, { path, findings: this.#findings }) ?? {};
    const ttlPath = [...path, "defaultRequestTTL"];
    const defaultRequestTTL = this.#ttl(written.defaultRequestTTL, ttlPath);
    return {
      priority: written.priority ?? 0,
      // 0 stands for the default here: a band is never without bounds.
      maxBytes: this.#quantity(written.maxBytes, [...path, "maxBytes"]) || BAND_BYTES_MAX,
      maxRequests:
        this.#quantity(written.maxRequests, [...path, "maxRequests"]) || BAND_REQUESTS_MAX,
      ...this.#tokens(written.maxTokens, path),
      ...(defaultRequestTTL === undefined ? {} : { defaultRequestTTL }),
      fairnessPolicyRef: this.#policy(
        written.fairnessPolicyRef,
        [...path, "fairnessPolicyRef"],
        "fairness policy",
      ),
      orderingPolicyRef: this.#policy(
        written.orderingPolicyRef,
        [...path, "orderingPolicyRef"],
        "ordering policy",
      ),
    };
  }

  #policy(ref: string | null | undefined, path: ConfigPath, role: keyof typeof DEFAULTS): string {
    const name = (ref ?? "") === "" ? DEFAULTS[role] : ref!;
    this.#check(name, path, role);
    return name;
  }

  /** With the gate off llm-d never looks at what is referred to. */
  #check(name: string, path: ConfigPath, role: PluginRole): void {
    const reference = { name, path, demand: ofRole(role), subject: role };
    if (this.#isOn) {
      this.#plugins.check(reference);
      return;
    }
    const found = new Findings();
    this.#plugins.check(reference, found);
    for (const { message } of found.issues)
      this.#findings.note(path, `with the gate on: ${message}`);
  }

  #detector(nested: unknown, top: unknown): string {
    const isTop = !present(nested) && present(top);
    const path = isTop ? ["saturationDetector"] : [...PATH, "saturationDetector"];
    const findings = this.#findings;
    if (present(top)) {
      const ignored = present(nested) ? "; the one there is used" : "";
      const message = `deprecated: use flowControl.saturationDetector${ignored}`;
      findings.note(["saturationDetector"], message);
    }
    const written = readFields(DETECTOR, (isTop ? top : nested) ?? {}, { path, findings });
    const ref = written?.pluginRef ?? DEFAULT_DETECTOR;
    if (ref === "")
      findings.note(
        path,
        `saturation detector plugin reference is empty: ${DEFAULT_DETECTOR} is used`,
      );
    const name = ref === "" ? DEFAULT_DETECTOR : ref;
    if (name === DEFAULT_DETECTOR) this.#plugins.fillIn(name);
    this.#plugins.check({
      name,
      path: [...path, "pluginRef"],
      demand: ofRole("saturation detector"),
      subject: "saturation detector",
    });
    return name;
  }

  /** 0 where nothing is written, or a mistake. */
  #quantity(written: string | number | null | undefined, path: ConfigPath): number {
    if (!present(written)) return 0;
    const amount = parseQuantity(written!);
    const field = path.at(-1)!;
    if (amount === undefined) {
      const found = describeFound(written);
      this.#findings.mistake(path, `expected a quantity, e.g. 5000, 1G or 512Mi; found ${found}`);
    } else if (amount < 0) {
      this.#findings.mistake(path, `${field} must be non-negative; found ${amount}`);
    } else if (amount > Number.MAX_SAFE_INTEGER) {
      this.#findings.mistake(path, `${field} is too much; at most ${Number.MAX_SAFE_INTEGER}`);
    } else {
      return amount;
    }
    return 0;
  }

  #tokens(written: string | number | null | undefined, path: ConfigPath): { maxTokens?: number } {
    const maxTokens = this.#quantity(written, [...path, "maxTokens"]);
    return maxTokens === 0 ? {} : { maxTokens };
  }

  #ttl(written: string | null | undefined, path: ConfigPath): string | undefined {
    if (!present(written)) return undefined;
    const ms = parseDurationMs(written!);
    if (ms !== undefined && ms >= 0) return formatDuration(ms);
    const message =
      ms === undefined
        ? "expected a duration, e.g. 60s or 1m30s; 0s disables it"
        : `${path.at(-1)} must be non-negative`;
    this.#findings.mistake(path, message);
    return undefined;
  }
}

const PATH: ConfigPath = ["flowControl"];
const DEFAULTS = {
  "fairness policy": DEFAULT_FAIRNESS,
  "ordering policy": DEFAULT_ORDERING,
  "usage limit policy": DEFAULT_USAGE_LIMIT,
} as const satisfies { readonly [role in PluginRole]?: string };
