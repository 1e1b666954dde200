// The Worker's entry, and the classes that wrangler.toml binds. Everything else is router.ts.

import { router } from "./router.ts";

export { Control } from "../durable/control.ts";
export { DirectoryObject } from "../durable/directory.ts";
export { PoolObject } from "../durable/pool.ts";
export { Pools } from "../durable/pools.ts";
export { SettingsObject } from "../durable/settings.ts";

export default {
  fetch: (request, env, ctx) => router.fetch(request, env, ctx),
} satisfies ExportedHandler<Env>;
