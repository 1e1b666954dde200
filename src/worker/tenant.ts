import type { TenantConfig } from "../config/deployment.ts";

/** Who is asking, and what was granted to it. */
export type Tenant = Omit<TenantConfig, "keys">;
