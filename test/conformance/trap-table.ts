// What surprises in llm-d, by the number it has in our list of such things, and what became of each.
// Where `file` is traps.test.ts, that has a test under the same number.

export interface Trap {
  readonly surprise: string;
  /** kept: so that configurations mean the same. */
  readonly outcome: "avoided" | "kept" | "cannot arise";
  /** The test that holds it, or the document that tells it; of what cannot arise, where the reason shows. */
  readonly file: string;
  /** Of what cannot arise. */
  readonly because?: string;
}

export const TRAPS_COUNT = 30;
export const HERE = "test/conformance/traps.test.ts";

const avoided = (surprise: string, file = HERE): Trap => ({ surprise, outcome: "avoided", file });
const kept = (surprise: string, file = HERE): Trap => ({ surprise, outcome: "kept", file });
const absent = (surprise: string, because: string, file: string): Trap => ({
  surprise,
  outcome: "cannot arise",
  because,
  file,
});

export const TRAPS: Readonly<Record<number, Trap>> = {
  1: avoided("an admitter's denial is answered with 500"),
  2: avoided("some refusals do not say why", "test/worker/openai/errors.test.ts"),
  3: kept(
    "documents and code name different bounds of flow control: the code's are taken",
    "test/scheduler/flow-control/of-config.test.ts",
  ),
  4: avoided(
    "documents know a reason with 429 only: each refusal has one",
    "test/worker/openai/errors.test.ts",
  ),
  5: kept("blocks have 64 tokens at least, and capacity is in the engine's blocks"),
  6: avoided("a match of a prefix may have gaps"),
  7: avoided("loads of endpoints without a sample count as idle"),
  8: avoided("a detector and the pool have different ages at which a sample is stale"),
  9: kept("where all are full, one detector's filter keeps all and the other's nobody"),
  10: avoided("a priority that nobody declared is served as 0, also a negative one"),
  11: avoided("ceilings count bands in which nothing waits, however they came"),
  12: avoided("saturation is the pool's, whatever a request is limited to"),
  13: avoided("one data producer that fails silences those after it"),
  14: absent(
    "an empty pool is a 500 to GET and a 503 to POST",
    "engines are only asked by POST; the Worker answers GET itself, without a pool",
    "test/worker/router.test.ts",
  ),
  15: avoided("a subset given as a string opens the whole pool", "test/scheduler/subset.test.ts"),
  16: avoided(
    "filters of a profile that is filled in run in a random order",
    "test/scheduler/config/schema.test.ts",
  ),
  17: avoided(
    "a client's headers about stages may reach the engine",
    "test/worker/upstream/dispatch.test.ts",
  ),
  18: kept("the hash of precise prefixes has another name in a release note"),
  19: absent(
    "another hash, seed or block size needs an empty index and empty engines",
    "blocks have keys of our own, which depend on neither",
    "docs/decisions/005-content-keys.md",
  ),
  20: absent(
    "a guide names a header for fallbacks that the protocol has not",
    "there is one list of endpoints, in one signed header",
    "test/worker/upstream/dispatch.test.ts",
  ),
  21: kept("documents name a role, a limit and a frame rate that the code has otherwise"),
  22: kept("no-hit-lru-scorer says nothing once anybody holds one block"),
  23: kept("load-aware-scorer does not score above a half"),
  24: avoided("the default fairness policy does not look at flows"),
  25: absent(
    "a page about evictions is referred to and missing",
    "ours about them is a decision",
    "docs/decisions/022-flow-control.md",
  ),
  26: kept("the filter for tests turns every request without its header away"),
  27: avoided("a client that left is counted as a 503"),
  28: kept(
    "parameters and gates that were removed stop the start: here they are mistakes with their names",
    "test/scheduler/config/load.test.ts",
  ),
  29: kept("many plugins need allowExperimentalPlugins"),
  30: avoided(
    "bodies are bounded in one of two routers, and differently: here by limits.bodyBytesMax",
    "test/worker/bad-input.test.ts",
  ),
};
