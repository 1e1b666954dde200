/**
 * The version an agent announces in its hello and in every frame's second byte. An object speaks
 * this version and the one before it; agents are upgraded on the customer's schedule.
 */
export const PROTOCOL_VERSION = 1;
/** The oldest version an object still understands. */
export const PROTOCOL_VERSION_MIN = 1;
