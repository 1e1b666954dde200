/** Bounds of one pool's scheduling configuration. */
export const SCHEDULER_LIMITS = {
  /** With those that are filled in. */
  pluginsMax: 64,
  profilesMax: 8,
  /** Of one profile, as the next two. */
  pluginsPerProfileMax: 33,
  filtersMax: 16,
  scorersMax: 16,
  featureGatesMax: 16,
  sourcesMax: 16,
  extractorsPerSourceMax: 16,
  parsersMax: 16,
  priorityBandsMax: 64,
  /** Of names of plugins and profiles. */
  nameCharsMax: 128,
  /** Objects and lists within each other. */
  depthMax: 16,
} as const;
