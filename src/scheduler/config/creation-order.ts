// The order in which instances are made: whoever is referred to, or read from, before whoever does.
// Otherwise the order stays as it is, so that sorting what is sorted changes nothing.

export type CreationOrder =
  | { readonly ok: true; readonly names: readonly string[] }
  /** The names of one loop, the first again at its end. */
  | { readonly ok: false; readonly loop: readonly string[] };

/** `dependencies` gives what each name needs; names that are not keys are left aside. */
export function creationOrder(dependencies: ReadonlyMap<string, readonly string[]>): CreationOrder {
  const order = new Set<string>();
  for (const root of dependencies.keys()) {
    // Depth first, and without recursion: each name with those of its needs still to be looked at.
    const trail = [{ name: root, left: [...(dependencies.get(root) ?? [])] }];
    while (trail.length > 0) {
      const { name, left } = trail.at(-1)!;
      const next = order.has(name) ? undefined : left.shift();
      if (next === undefined) {
        order.add(name);
        trail.pop();
      } else if (trail.some((step) => step.name === next)) {
        const names = trail.map((step) => step.name);
        return { ok: false, loop: [...names.slice(names.indexOf(next)), next] };
      } else if (dependencies.has(next) && !order.has(next)) {
        trail.push({ name: next, left: [...dependencies.get(next)!] });
      }
    }
  }
  return { ok: true, names: [...order] };
}
