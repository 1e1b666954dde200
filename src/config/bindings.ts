// Bindings that the configuration names, and wrangler.toml gives.

/** The binding of this name that can fetch; undefined where the Worker, or its objects, have none. */
export function fetcherOf<Fetch extends { readonly fetch: unknown }>(
  env: object,
  name: string,
): Fetch | undefined {
  const binding: unknown = Reflect.get(env, name);
  const isAny = (typeof binding === "object" || typeof binding === "function") && binding !== null;
  if (!isAny || !("fetch" in binding) || typeof binding.fetch !== "function") return undefined;
  return binding as unknown as Fetch;
}
