// session-id-producer: the session that a request belongs to, from a header or a cookie.
//
//   value = the header, or the cookie; undefined where the client sent none
//
// Source: llm-d-router pkg/epp/framework/plugins/requestcontrol/dataproducer/sessionid. The id is the
// client's own word, and two clients may use the same one. O(1).

import { z } from "zod";
import { optionalHeaderName } from "../../header-names.ts";
import { requestHeader } from "../../model/inference-request.ts";
import { type DataProducer, defineDataProducer, type PickContext } from "../../plugin.ts";

const params = z
  .strictObject({
    headerName: optionalHeaderName.default("").describe("Header that holds the id"),
    cookieName: z.string().trim().default("").describe("Cookie that holds it"),
  })
  .refine(({ headerName, cookieName }) => (headerName === "") !== (cookieName === ""), {
    error: "exactly one of headerName and cookieName must be set",
  });

/** Under which InferenceRequest.headers has it. */
function keyOf({ headerName, cookieName }: z.output<typeof params>): string {
  return headerName === "" ? `cookie:${cookieName}` : headerName;
}

class SessionIdProducer implements DataProducer {
  readonly #key: string;
  readonly #session: { value: string | undefined } = { value: undefined };
  readonly data = { "session-id": this.#session };

  constructor(key: string) {
    this.#key = key;
  }

  produce({ request }: PickContext): void {
    this.#session.value = requestHeader(request, this.#key);
  }
}

export const sessionIdProducer = defineDataProducer({
  type: "session-id-producer",
  produces: ["session-id"],
  params,
  requestHeaders: (given) => [keyOf(given)],
  create: (given) => new SessionIdProducer(keyOf(given)),
});
