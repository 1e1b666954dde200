import { describe, expect, it } from "vitest";
import { deploymentSchema, parseDeployment } from "../../src/config/deployment.ts";

const SECRET = "a-secret-0123456789";
const METRICS = "https://metrics.example.com/metrics";

function deployment(change: (url: string) => string = (url) => url, fields: object = {}) {
  const pool = {
    name: "a",
    region: "eu",
    models: ["m"],
    agentToken: SECRET,
    capacityWebhook: { url: change("https://hook.example.com") },
  };
  const relays = [
    { url: change("https://relay.example.com"), keys: [{ id: "k", secret: SECRET }] },
  ];
  const upstreams = [
    {
      name: "u",
      kind: "gateway",
      url: change("https://u.example.com"),
      metrics: { url: change(METRICS) },
    },
  ];
  const prefixKeys = {
    kind: "tokens",
    by: "edge",
    tokenizer: change("https://files.example.com/tokenizer.json"),
  };
  return {
    version: 1,
    pools: [
      { ...pool, relays, prefixKeys, ...fields },
      { ...pool, name: "b", relays: [], upstreams },
    ],
    tenants: [],
  };
}

const issues = (input: unknown) => {
  const parsed = parseDeployment(input);
  return parsed.ok ? [] : parsed.issues;
};

describe("credentials in URLs", () => {
  it.for(["user:hunter2@", "user@", ":hunter2@"])(
    "are refused wherever %s is written",
    (userinfo) => {
      const found = issues(deployment((url) => url.replace("://", `://${userinfo}`)));
      expect(found.map(({ path }) => path)).toEqual([
        "pools[0].relays[0].url",
        "pools[0].capacityWebhook.url",
        "pools[0].prefixKeys.tokenizer",
        "pools[1].upstreams[0].url",
        "pools[1].upstreams[0].metrics.url",
        "pools[1].capacityWebhook.url",
      ]);
      expect(found[3]!.message).toContain("apiKey");
      expect(JSON.stringify(found)).not.toContain("hunter2");
    },
  );

  it("are not seen in what has none", () => {
    expect(issues(deployment((url) => `${url}/at/user:pw@x?a=b:c@d`))).toEqual([]);
  });

  it.for(["HTTPS:/u:p@h", "https:u@h", " https://u@h", "ht\ntps://u\t@h", "https:\\\\u@h\\x"])(
    "are seen in %j",
    (url) => {
      expect(new URL(url).username).toBe("u");
      const found = issues(deployment(undefined, { capacityWebhook: { url } }));
      expect(found.map(({ message }) => message)).toContainEqual(
        expect.stringContaining("without user name"),
      );
    },
  );

  it("are found beside other mistakes", () => {
    const draft = deployment((url) => url.replace("://", "://user:pw@"), { region: 7 });
    expect(issues(draft)).toHaveLength(7);
    expect(issues({ ...draft, pools: "none" })).toHaveLength(1);
  });

  it("do not keep a stored configuration from being read", () => {
    const draft = deployment((url) => url.replace("://", "://user:pw@"));
    expect(deploymentSchema.safeParse(draft).success).toBe(true);
  });
});
