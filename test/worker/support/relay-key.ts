/** Shared by the deployment under test and its relay. */
export const RELAY_KEY = { id: "k1", secret: "relay-secret-0123456789" } as const;

/** Below this path of the test's relay stands one from before model rewrites. */
export const FORMER_RELAY_PATH = "/before-rewrites";
/** Below this path and a name stands a relay of that name, for scripts that end with `@<name>`. */
export const PLACE_PATH = "/at/";
/** Of a prompt that it renders: 0, 3, 6 … */
export const RENDERED_TOKENS = 200;
