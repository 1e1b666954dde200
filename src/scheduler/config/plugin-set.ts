// The plugin instances of a configuration while it is read: those that are listed, then those that
// are filled in because something needs them.

import type { DataKey } from "../data/data.ts";
import type { PluginKind, PluginRole } from "../plugin.ts";
import { type AnyPluginDefinition, findPlugin } from "../registry.ts";
import type { ConfigPath, Findings } from "./findings.ts";
import { quoted } from "./findings.ts";
import { didYouMean } from "./near-miss.ts";
import type { PluginParameters } from "./scheduler-config.ts";

export interface PluginEntry {
  readonly name: string;
  /** In the `plugins` list; undefined for what was filled in. */
  readonly index: number | undefined;
  /** undefined where the type is a mistake, which has been told: nothing more can be said of it. */
  readonly definition: AnyPluginDefinition | undefined;
  /** With defaults; undefined where there is a mistake in them, which has been told. */
  readonly parameters: PluginParameters | undefined;
}

/** What a reference asks of a plugin. */
export interface Demand {
  /** e.g. `a picker`, `an ordering policy`. */
  readonly what: string;
  fits(definition: AnyPluginDefinition): boolean;
}

/** Any of the kinds will do. */
export function ofKinds(...kinds: readonly PluginKind[]): Demand {
  return {
    what: withArticle(kinds.join(" or ")),
    fits: (definition) => kinds.some((kind) => definition.kinds.includes(kind)),
  };
}

export function ofRole(role: PluginRole): Demand {
  return { what: withArticle(role), fits: (definition) => definition.role === role };
}

export function ofTypes(...types: readonly string[]): Demand {
  return {
    what: `of type ${types.join(" or ")}`,
    fits: (definition) => types.includes(definition.type),
  };
}

export function producing(key: DataKey): Demand {
  return {
    what: `a producer of ${key}`,
    fits: (definition) => definition.produces?.includes(key) === true,
  };
}

/** What the instance is for that is filled in of this type. */
function purposeOf({ kinds, role }: AnyPluginDefinition): Demand {
  return role === undefined ? ofKinds(kinds[0]!) : ofRole(role);
}

function withArticle(noun: string): string {
  return `${/^[aeiou]/.test(noun) ? "an" : "a"} ${noun}`;
}

/** A field that names a plugin. */
export interface Reference {
  readonly name: string;
  readonly path: ConfigPath;
  readonly demand: Demand;
  /** Begins the sentence about a name that nothing has, e.g. `data source`. */
  readonly subject: string;
}

export class PluginSet {
  readonly #byName = new Map<string, PluginEntry>();
  readonly #findings: Findings;
  /** Names that stand in the way of what is filled in, which has been told. */
  readonly #misnamed = new Set<string>();

  constructor(findings: Findings) {
    this.#findings = findings;
  }

  /** In the order they were listed and filled in. */
  entries(): readonly PluginEntry[] {
    return [...this.#byName.values()];
  }

  get size(): number {
    return this.#byName.size;
  }

  get(name: string): PluginEntry | undefined {
    return this.#byName.get(name);
  }

  /** The name must be free. */
  add(entry: PluginEntry): void {
    this.#byName.set(entry.name, entry);
  }

  ofKind(kind: PluginKind): readonly PluginEntry[] {
    return this.entries().filter(({ definition }) => definition?.kinds.includes(kind));
  }

  /**
   * Sees to it that an instance with the type's name is there: what was listed, or one with default
   * parameters, but for those that are given. Tells a plugin of another type that has the name and
   * will not do; gives whether it will.
   */
  fillIn(type: string, demand?: Demand, given: PluginParameters = {}): boolean {
    const definition = findPlugin(type);
    if (definition === undefined) throw new Error(`invariant broken: no plugin type ${type}`);
    const taken = this.#byName.get(type);
    if (taken !== undefined) return this.#checkFilledIn(taken, demand ?? purposeOf(definition));
    const parameters = definition.params.parse(given) as PluginParameters;
    this.add({ name: type, index: undefined, definition, parameters });
    return true;
  }

  #checkFilledIn({ name, index, definition }: PluginEntry, demand: Demand): boolean {
    if (definition === undefined || demand.fits(definition)) return true;
    if (this.#misnamed.has(name)) return false;
    this.#misnamed.add(name);
    this.#findings.mistake(
      index === undefined ? ["plugins"] : ["plugins", index, "name"],
      `plugin ${quoted(name)} (type ${definition.type}) is not ${demand.what}, and the name is ` +
        "that of the one which is filled in; give it another name",
    );
    return false;
  }

  /** Tells a reference to nothing, or to a plugin that will not do. Gives whether it is right. */
  check({ name, path, demand, subject }: Reference, findings = this.#findings): boolean {
    const entry = this.#byName.get(name);
    if (entry === undefined) {
      const hint = didYouMean(name, this.#byName.keys());
      const message = `${subject} references undefined plugin ${quoted(name)}${hint}`;
      findings.mistake(path, `${message}; ${this.#namesFor(demand)}`);
      return false;
    }
    const { definition } = entry;
    if (definition === undefined || demand.fits(definition)) return true;
    if (this.#misnamed.has(name)) return false;
    const message = `plugin ${quoted(name)} (type ${definition.type}) is not ${demand.what}`;
    findings.mistake(path, `${message}; ${this.#namesFor(demand)}`);
    return false;
  }

  #namesFor(demand: Demand): string {
    const names = this.entries().flatMap(({ name, definition }) =>
      definition !== undefined && demand.fits(definition) ? [quoted(name)] : [],
    );
    return names.length === 0
      ? `nothing defined is ${demand.what}`
      : `defined are ${names.join(", ")}`;
  }
}
