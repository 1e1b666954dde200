/**
 * The newest version this code speaks: an agent announces it in its hello, and writes frames in the
 * version of the welcome. An object speaks this version and the one before it; agents are upgraded
 * on the customer's schedule.
 */
export const PROTOCOL_VERSION = 2;
/** The oldest version an object still understands, and an agent still falls back to. */
export const PROTOCOL_VERSION_MIN = 1;

/** The version that brought a part of the protocol: never sent to a peer of an earlier one. */
export const SINCE_VERSION = {
  /** Ticket reports are numbered, acknowledged by number, and name their request. */
  numberedReports: 2,
  /** MARKS frames. */
  marks: 2,
  /** MODELS frames, for an object that sent a specification; those of before never get one. */
  models: 2,
  /** `evict`, and STARTED frames for an object that asked for them. */
  evictions: 2,
  /** `prefilled` reports and the stages of `closed`, for an object that said `reportsStages`. */
  stageReports: 2,
  /** KV and KV_OFFER frames, for an object that said `kvWindowBytes`, with ends if it said `kvTokenEnds`; `kv-send`, -`stop`, -`credit` to a collector that offered. */
  kv: 2,
  /** RESOURCES frames, for an object that said `takesResources`. */
  resources: 2,
  /** `shards` in `configure`, to whoever may have to do with other objects of the pool. */
  shards: 2,
} as const;
