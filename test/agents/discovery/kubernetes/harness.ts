// A source in a cluster of this process.

import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { KubernetesSource } from "../../../../src/agents/discovery/kubernetes/kubernetes-source.ts";
import type {
  KubernetesFrom,
  KubernetesTiming,
} from "../../../../src/agents/discovery/kubernetes/kubernetes-source.ts";
import { MetricRegistry } from "../../../../src/telemetry/metrics.ts";
import { kubeconfig } from "../../support/kubeconfig.ts";
import { FakeKubernetesApi, type KubernetesObject } from "../../support/kubernetes-api.ts";
import { captureLogs } from "../../support/logs.ts";

export const GROUP = "inference.networking.k8s.io";
export const POOLS = `/apis/${GROUP}/v1/namespaces/llm/inferencepools`;
export const PODS = "/api/v1/namespaces/llm/pods";
export const FAST: KubernetesTiming = {
  retryBaseMs: 5,
  retryCapMs: 20,
  emptyConfirmMs: 20,
  watchIdleMs: 5_000,
  relistMs: 60_000,
  syncMsMax: 5_000,
};

export function pool(ports: readonly number[] = [8000], app = "vllm"): KubernetesObject {
  return {
    apiVersion: `${GROUP}/v1`,
    kind: "InferencePool",
    metadata: { name: "llama", namespace: "llm" },
    spec: {
      selector: { matchLabels: { app } },
      targetPorts: ports.map((number) => ({ number })),
      endpointPickerRef: { name: "epp", port: { number: 9002 } },
    },
  };
}

export class Cluster {
  readonly directory = mkdtempSync(join(tmpdir(), "fairlead-kubernetes-"));
  readonly registry = new MetricRegistry();
  readonly lines: Record<string, unknown>[];
  readonly #logger;
  api: FakeKubernetesApi;
  source: KubernetesSource | undefined;

  private constructor(api: FakeKubernetesApi) {
    this.api = api;
    const { logger, lines } = captureLogs();
    this.#logger = logger;
    this.lines = lines;
    // Served, if empty.
    for (const path of [POOLS, PODS]) {
      api.put(path, { metadata: { name: "none", namespace: "llm" } });
      api.remove(path, "none");
    }
  }

  static async start(): Promise<Cluster> {
    return new Cluster(await FakeKubernetesApi.start());
  }

  async follow(
    object: KubernetesFrom["object"] = { kind: "InferencePool", group: GROUP },
    timing: Partial<KubernetesTiming> = {},
    withResources = false,
  ): Promise<KubernetesSource> {
    this.source = await KubernetesSource.start({
      namespace: "llm",
      name: "llama",
      object,
      kubeconfig: kubeconfig(this.directory, `http://127.0.0.1:${this.api.port}`),
      timing: { ...FAST, ...timing },
      logger: this.#logger,
      registry: this.registry,
      withResources,
    });
    return this.source;
  }

  addresses(): Record<string, string> {
    return Object.fromEntries(this.source!.endpoints.map(({ id, address }) => [id, address]));
  }

  ids(): string[] {
    return this.source!.endpoints.map(({ id }) => id);
  }

  async stop(): Promise<void> {
    this.source?.close();
    await this.api.close();
    rmSync(this.directory, { recursive: true });
  }
}
