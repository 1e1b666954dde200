// `fairlead explain`: why a request went where it went.

import { adminClient, ADMIN_FLAGS, ADMIN_FLAGS_USAGE, errorMessage } from "../admin-client.ts";
import { CliError } from "../cli-error.ts";
import { parseFlags, positionals } from "../flags.ts";
import type { Command } from "../command.ts";
import { renderExplanation } from "./table.ts";

const USAGE = `Usage: fairlead explain REQUEST_ID [flags]

Prints the decision about a request: how long it waited in the pool's queue, every candidate with its
load, its cache and each scorer's score, and why the others lost; or why the queue refused it. The id
is in the answer's x-fairlead-request-id. The latest decisions of each pool are kept, hundreds to
thousands of them, and the latest 1,024 refusals of its queue. The edge records a part of its decisions:
of the others there is what was chosen, why it was decided there and how it went.

  --json             print everything on record as one JSON document, for \`fairlead replay\`
${ADMIN_FLAGS_USAGE}`;

export const explainCommand: Command = {
  usage: USAGE,
  async run(args) {
    const parsed = parseFlags(args, { ...ADMIN_FLAGS, json: { type: "boolean", default: false } });
    const [requestId] = positionals(parsed.positionals, ["REQUEST_ID"]);
    const client = adminClient(parsed.values);
    const path = `/explain/${encodeURIComponent(requestId!)}`;
    const answer = await client.call({ method: "GET", path });
    if (answer.status !== 200) throw new CliError(`${requestId}: ${errorMessage(answer)}`);
    process.stdout.write(
      parsed.values.json
        ? `${JSON.stringify(answer.body, null, 2)}\n`
        : renderExplanation(answer.body),
    );
  },
};
