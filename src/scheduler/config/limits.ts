/** Bounds of one pool's scheduling configuration. */
export const SCHEDULER_LIMITS = {
  pluginsMax: 64,
  profilesMax: 8,
  /** Of one profile, as the next two. */
  pluginsPerProfileMax: 33,
  filtersMax: 16,
  scorersMax: 16,
} as const;
