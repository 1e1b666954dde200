// The endpoints of a Service, for pools that no InferencePool describes.

import type { Candidate } from "./candidates.ts";
import type { ClusterView, ViewOptions } from "./cluster-view.ts";
import { parseSlice, sliceCandidates, type Slice } from "./endpoint-slices.ts";
import { Reflector } from "./reflector.ts";

export class ServiceView implements ClusterView {
  readonly #slices: Reflector<Slice>;
  readonly #port: string | null;
  readonly #name: string;

  /** `port` as in sliceCandidates. */
  constructor(options: ViewOptions, port: string | null) {
    const { namespace, name } = options;
    this.#port = port;
    this.#name = `${namespace}/${name}`;
    this.#slices = new Reflector({
      ...options,
      path: `/apis/discovery.k8s.io/v1/namespaces/${namespace}/endpointslices`,
      query: { labelSelector: `kubernetes.io/service-name=${name}` },
      parse: parseSlice,
    });
    void this.#slices.run();
  }

  get isSynced(): boolean {
    return this.#slices.heardAtMs !== undefined;
  }

  get trouble(): string | undefined {
    if (this.#slices.trouble !== undefined) return this.#slices.trouble;
    if (!this.isSynced) return undefined;
    if (this.#slices.items.size === 0) return `no EndpointSlice of Service ${this.#name}`;
    return sliceCandidates(this.#slices.items.values(), this.#port).mistake;
  }

  get heardAtMs(): number | undefined {
    return this.#slices.heardAtMs;
  }

  get leftOut(): number {
    return this.#slices.leftOut;
  }

  candidates(): readonly Candidate[] {
    return sliceCandidates(this.#slices.items.values(), this.#port).candidates;
  }

  close(): void {
    this.#slices.close();
  }
}
