// The Worker's entry, and the classes that wrangler.toml binds. Everything else is router.ts.

import { serveRequest } from "./router.ts";

export { Control } from "../durable/control.ts";
export { DirectoryObject } from "../durable/directory.ts";
export { PoolObject } from "../durable/pool.ts";
export { Pools } from "../durable/pools.ts";
export { SettingsObject } from "../durable/settings.ts";

export default {
  fetch: serveRequest,
} satisfies ExportedHandler<Env>;
