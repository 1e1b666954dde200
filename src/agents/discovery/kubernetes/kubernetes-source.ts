// Endpoints found in a Kubernetes cluster: the pods of an InferencePool, or what a Service stands for.
// While the API server is away the last good set stays in force; /health and metrics tell its age.

import type { MetricRegistry } from "../../../telemetry/metrics.ts";
import { METRIC } from "../../../telemetry/names.ts";
import type { Logger } from "../../process/logger.ts";
import type { EndpointRecord } from "../../protocol/messages.ts";
import type { EndpointListener, EndpointSource, ToldResources } from "../endpoint-source.ts";
import { toEndpoints } from "./candidates.ts";
import { ClusterApi } from "./cluster-api.ts";
import { ResourcesView } from "./cluster-resources.ts";
import type { ClusterView, ViewOptions } from "./cluster-view.ts";
import type { PoolGroup } from "./inference-pool.ts";
import { PoolView } from "./pool-view.ts";
import { REFLECTOR_TIMING, type ReflectorTiming } from "./reflector.ts";
import { ServiceView } from "./service-view.ts";

/** Where in a cluster endpoints are found. */
export interface KubernetesFrom {
  readonly namespace: string;
  readonly name: string;
  readonly object:
    | { readonly kind: "InferencePool"; readonly group: PoolGroup }
    /** `port`: its name or number in the EndpointSlices; null: the only one. */
    | { readonly kind: "Service"; readonly port: string | null };
  /** Path of a kubeconfig; null: the service account of this pod. */
  readonly kubeconfig: string | null;
  readonly timing?: Partial<KubernetesTiming>;
}

export interface KubernetesTiming extends ReflectorTiming {
  /** An agent without a first set ends, and whoever runs it starts it again. */
  readonly syncMsMax: number;
  /** Between two looks at whether resources are defined that were not. */
  readonly absentRetryMs?: number;
}

export interface KubernetesSourceOptions extends KubernetesFrom {
  readonly logger: Logger;
  readonly registry: MetricRegistry;
  /** Whether an InferencePool's objectives and rewrites are followed, too. */
  readonly withResources?: boolean;
}

const SYNC_MS_MAX = 20_000;
/** A rolling update comes as several events at once. Short: a pod that ends is to be left at once. */
const SETTLE_MS = 20;
/** How often trouble is looked for that no event tells. */
const LOOK_MS = 1_000;

export class KubernetesSource implements EndpointSource {
  readonly #options: KubernetesSourceOptions;
  readonly #clock = () => performance.now();
  readonly #listeners: EndpointListener[] = [];
  readonly #view: ClusterView;
  readonly #resources: ResourcesView | undefined;
  readonly #resourceListeners: (() => void)[] = [];
  readonly #look: NodeJS.Timeout;
  #endpoints: readonly EndpointRecord[] = [];
  #leftOut = 0;
  #isSynced = false;
  #settle: NodeJS.Timeout | undefined;
  /** As they were logged last. */
  #mistakes = "";
  #trouble: string | undefined;
  /** As they were logged last. */
  #notes = "";
  #onSynced: (() => void) | undefined;

  private constructor(options: KubernetesSourceOptions, api: ClusterApi) {
    this.#options = options;
    this.#view = this.#openView(api);
    this.#resources = this.#openResources(api);
    this.#look = setInterval(() => {
      this.#tellTrouble();
      this.#tellNotes();
    }, LOOK_MS);
    this.#look.unref();
  }

  /** Rejects, saying why, if there is no first set within `syncMsMax`. */
  static async start(options: KubernetesSourceOptions): Promise<KubernetesSource> {
    const { registry, timing } = options;
    const source = new KubernetesSource(options, ClusterApi.open(options.kubeconfig));
    const syncMsMax = timing?.syncMsMax ?? SYNC_MS_MAX;
    if (!(await source.#synced(syncMsMax))) {
      source.close();
      const { trouble = "no answer" } = source.#view;
      throw new Error(`no endpoints from the API server within ${syncMsMax} ms: ${trouble}`);
    }
    registry.onRender(() => source.#observe(registry));
    return source;
  }

  get endpoints(): readonly EndpointRecord[] {
    return this.#endpoints;
  }

  /** Nothing here needs repair at this agent: the set in force is good, if old. */
  get problem(): undefined {
    return undefined;
  }

  get health(): Readonly<Record<string, string | number | null>> {
    return {
      endpointsAgeS: Math.round(this.#ageMs() / 1_000),
      endpointsTrouble: this.#view.trouble ?? null,
      endpointsLeftOut: this.#leftOut + this.#view.leftOut,
      ...(this.#resources === undefined
        ? {}
        : { resourcesNotes: this.#resources.notes.join("; ") || null }),
    };
  }

  get resources(): ToldResources | undefined {
    return this.#resources;
  }

  onResources(listener: () => void): void {
    this.#resourceListeners.push(listener);
  }

  onChange(listener: EndpointListener): void {
    this.#listeners.push(listener);
  }

  close(): void {
    clearInterval(this.#look);
    clearTimeout(this.#settle);
    this.#view.close();
    this.#resources?.close();
  }

  #openView(api: ClusterApi): ClusterView {
    const { object } = this.#options;
    const options = this.#viewOptions(api, () => this.#changed());
    return object.kind === "InferencePool"
      ? new PoolView(options, object.group)
      : new ServiceView(options, object.port);
  }

  #openResources(api: ClusterApi): ResourcesView | undefined {
    const { object, withResources, timing } = this.#options;
    if (withResources !== true || object.kind !== "InferencePool") return undefined;
    const onChange = () => {
      for (const listener of this.#resourceListeners) listener();
    };
    return new ResourcesView({
      ...this.#viewOptions(api, onChange),
      group: object.group,
      ...(timing?.absentRetryMs === undefined ? {} : { absentRetryMs: timing.absentRetryMs }),
    });
  }

  #viewOptions(api: ClusterApi, onChange: () => void): ViewOptions {
    const { namespace, name, timing } = this.#options;
    return {
      api,
      namespace,
      name,
      timing: { ...REFLECTOR_TIMING, ...timing },
      clock: this.#clock,
      rng: Math.random,
      onChange,
    };
  }

  async #synced(msMax: number): Promise<boolean> {
    await new Promise<void>((resolve) => {
      const timer = setTimeout(resolve, msMax);
      this.#onSynced = () => {
        clearTimeout(timer);
        resolve();
      };
    });
    return this.#isSynced;
  }

  #changed(): void {
    // Not pushed back by every event: a steady stream of them would hold all back.
    this.#settle ??= setTimeout(() => {
      this.#settle = undefined;
      this.#apply();
    }, SETTLE_MS);
  }

  #apply(): void {
    if (!this.#view.isSynced) return;
    const { namespace, logger } = this.#options;
    const known = new Set(this.#endpoints.map(({ id }) => id));
    const { endpoints, leftOut, mistakes } = toEndpoints(namespace, this.#view.candidates(), known);
    this.#leftOut = leftOut;
    const told = mistakes.join("; ");
    if (told !== this.#mistakes && told !== "") logger.warn({ mistakes }, "endpoints are left out");
    this.#mistakes = told;
    this.#isSynced = true;
    if (JSON.stringify(endpoints) !== JSON.stringify(this.#endpoints)) {
      this.#endpoints = endpoints;
      logger.info({ endpoints: endpoints.length }, "endpoints changed");
      for (const listener of this.#listeners) listener(endpoints);
    }
    this.#onSynced?.();
  }

  #tellTrouble(): void {
    const { trouble } = this.#view;
    if (trouble === this.#trouble) return;
    this.#trouble = trouble;
    const { logger } = this.#options;
    const kept = this.#endpoints.length;
    if (trouble === undefined) logger.info({ kept }, "the API server is heard again");
    else logger.error({ trouble, kept }, "no news from the API server, keeping the last endpoints");
  }

  /** Each once: a cluster without these resources is as good as one with them. */
  #tellNotes(): void {
    const notes = this.#resources?.notes ?? [];
    const told = notes.join("; ");
    if (told === this.#notes) return;
    this.#notes = told;
    this.#options.logger.info({ notes }, "objectives and rewrites of the cluster");
  }

  #ageMs(): number {
    return this.#clock() - (this.#view.heardAtMs ?? 0);
  }

  #observe(registry: MetricRegistry): void {
    registry.set(METRIC.endpointsKnown, {}, this.#endpoints.length);
    registry.set(METRIC.endpointsLeftOut, {}, this.#leftOut + this.#view.leftOut);
    registry.set(METRIC.endpointsAgeSeconds, {}, this.#ageMs() / 1_000);
    registry.set(METRIC.endpointsStale, {}, this.#view.trouble === undefined ? 0 : 1);
  }
}
