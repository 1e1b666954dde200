// Bounds of the choice among pools, apart from what uses them: plugins of both sides do.

/** Pools of one deployment; as DEPLOYMENT_LIMITS.poolsMax. */
export const POOLS_MAX = 256;
