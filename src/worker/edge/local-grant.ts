// A grant that this isolate has given itself. Its ticket is of the isolate's own epoch, so that an object which
// has not heard of it takes the relay's reports for those of an earlier life and counts them.

import { METRIC } from "../../telemetry/names.ts";
import type { LocalEnd } from "../../scheduler/edge/contracts.ts";
import { metrics } from "../metrics.ts";
import type { Grant } from "../upstream/pool-picks.ts";

/** What of a grant the client and the relay see. */
export type GrantedParts = Pick<
  Grant,
  "ticket" | "endpoints" | "stages" | "responseHeaders" | "wantsContent" | "terms"
>;

/** `ended` is told once how it ended, where that is not a relay's to say. */
export function localGrant(
  parts: GrantedParts,
  attempt: number,
  ended: (end: LocalEnd) => void,
): Grant {
  const { ticket } = parts;
  let isEnded = false;
  const end = (how: LocalEnd["how"]) => {
    if (isEnded) return;
    isEnded = true;
    ended({ ticket, attempt, how });
  };
  // Spread last, here and elsewhere on a request's way: a member that a literal names after it takes ten times as
  // long, and so does one whose name is computed.
  const grant: Omit<Grant, typeof Symbol.dispose> & Partial<Disposable> = {
    ok: true,
    isLocal: true,
    release: end,
    settle({ status }) {
      // An upstream's, while the object is away: nobody will tell the object what it has used.
      if (status < 400) metrics.inc(METRIC.unmeteredAnswersTotal, {});
      end(status >= 400 ? "refused" : "unmetered");
      return Promise.resolve();
    },
    lose() {
      end("hedge-lost");
      return Promise.resolve();
    },
    ...parts,
  };
  grant[Symbol.dispose] = () => end("left");
  return grant as Grant;
}
