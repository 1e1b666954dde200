// The pods of an InferencePool: one watch on the resource, one on what its selector selects.
//
// While the resource is gone or mistaken, its last selector and ports stay in force, and the pods are
// followed on. llm-d's EPP forgets all endpoints when the resource is deleted; a release that is deleted and
// installed again would so stop engines that never stopped serving.

import type { Candidate } from "./candidates.ts";
import { earliestHeard, type ClusterView, type ViewOptions } from "./cluster-view.ts";
import {
  parsePool,
  poolsPath,
  type ParsedPool,
  type PoolGroup,
  type PoolSpecification,
} from "./inference-pool.ts";
import { parsePod, podCandidates, type Pod } from "./pods.ts";
import { Reflector } from "./reflector.ts";

export class PoolView implements ClusterView {
  readonly #options: ViewOptions;
  readonly #group: PoolGroup;
  readonly #pools: Reflector<ParsedPool>;
  #specification: PoolSpecification | undefined;
  #pods: Reflector<Pod> | undefined;
  /** Of another selector, not listed yet: those before stay in force until it is. */
  #nextPods: Reflector<Pod> | undefined;

  constructor(options: ViewOptions, group: PoolGroup) {
    this.#options = options;
    this.#group = group;
    this.#pools = new Reflector({
      ...options,
      path: poolsPath(group, options.namespace),
      query: { fieldSelector: `metadata.name=${options.name}` },
      parse: (object) => parsePool(group, object),
      onChange: () => this.#poolChanged(),
    });
    void this.#pools.run();
  }

  get isSynced(): boolean {
    return this.#pods?.heardAtMs !== undefined;
  }

  get trouble(): string | undefined {
    return this.#pools.trouble ?? this.#poolTrouble() ?? (this.#nextPods ?? this.#pods)?.trouble;
  }

  get heardAtMs(): number | undefined {
    return this.#pods === undefined ? undefined : earliestHeard([this.#pools, this.#pods]);
  }

  get leftOut(): number {
    return this.#pods?.leftOut ?? 0;
  }

  candidates(): readonly Candidate[] {
    if (this.#pods === undefined) return [];
    return podCandidates(this.#pods.items.values(), this.#specification!.targetPorts);
  }

  close(): void {
    this.#pools.close();
    this.#pods?.close();
    this.#nextPods?.close();
  }

  #poolTrouble(): string | undefined {
    const { namespace, name } = this.#options;
    const title = `InferencePool ${namespace}/${name} of ${this.#group}`;
    if (this.#pools.heardAtMs === undefined) return undefined;
    const pool = this.#pools.items.get(name);
    if (pool === undefined) return `there is no ${title}`;
    return pool.ok ? undefined : `${title}: ${pool.mistake}`;
  }

  #poolChanged(): void {
    const pool = this.#pools.items.get(this.#options.name);
    if (pool?.ok === true) {
      const before = this.#specification;
      this.#specification = pool.specification;
      if (before?.labelSelector !== pool.specification.labelSelector) {
        this.#followPods(pool.specification.labelSelector);
      }
    }
    this.#options.onChange();
  }

  #followPods(labelSelector: string): void {
    const { namespace, onChange } = this.#options;
    this.#nextPods?.close();
    const next = new Reflector<Pod>({
      ...this.#options,
      path: `/api/v1/namespaces/${namespace}/pods`,
      query: { labelSelector },
      parse: parsePod,
      onChange: () => {
        if (next === this.#nextPods) {
          this.#pods?.close();
          this.#pods = next;
          this.#nextPods = undefined;
        }
        onChange();
      },
    });
    this.#nextPods = next;
    void next.run();
  }
}
