import { createHash } from "node:crypto";
import { expect, it } from "vitest";
import { CHAT_PATH } from "../../bench/conversation.ts";
import { RequestSigner } from "../../bench/signed-headers.ts";
import { admit } from "../../src/agents/relay/admission.ts";
import { parseRelayKeys } from "../../src/agents/relay/relay-keys.ts";

const SECRET = "a-secret-of-the-test";
const ENGINE = "127.0.0.1:8000";

it("signs what a relay admits, each request with a ticket of its own", () => {
  const bodies = ["first", "second"];
  const key = { id: "k1", secret: SECRET };
  const signer = new RequestSigner({ key, destination: ENGINE, tenant: "t", bodies });
  const context = {
    keys: parseRelayKeys(`k1:${SECRET}`),
    isKnown: (address: string) => address === ENGINE,
    nowMs: Date.now(),
  };
  const admitted = [0, 1, 0].map((index) =>
    admit({ method: "POST", path: CHAT_PATH, headers: signer.sign(index) }, context),
  );
  const signed = admitted.flatMap((each) => (each.ok ? [each.signed] : []));
  expect(signed).toHaveLength(3);
  expect(new Set(signed.map(({ ticket }) => ticket)).size).toBe(3);
  const sha256 = (text: string) => createHash("sha256").update(text).digest("hex");
  expect(signed[1]!.bodySha256).toBe(sha256("second"));
});
