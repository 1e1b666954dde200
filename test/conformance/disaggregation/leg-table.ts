// What each engine of a split request receives, byte for byte: for every connector and API, a request as the
// client wrote it and both legs. Written from llm-d-router's sidecar and the engines' documentation; where
// docs/decisions/038 differs from the sidecar, the row says so.
//
// <id> is the name of the hand-off, <room> a number of its own, <port> that of Mooncake's bootstrap server.

import type {
  ConnectorName,
  StagedApi,
} from "../../../src/agents/relay/disaggregation/connector.ts";

export interface LegRow {
  readonly connector: ConnectorName;
  readonly api: StagedApi;
  /** What is special about it. */
  readonly name: string;
  readonly body: string;
  readonly prefill: string;
  readonly decode: string;
}

/** What a prefiller of nixlv2 answers: unknown keys, integers past 2^53, and text that is easy to spoil. */
export const PARAMS =
  '{ "do_remote_prefill":true,"do_remote_decode":false,"remote_block_ids":[[1, 2],[18446744073709551615]],' +
  '"remote_engine_id":"ü\\u00fc🗝","remote_port":5600,"unknown":{"x":1.0,"y":1E-7}}';

const ASKED =
  '{"do_remote_decode":true,"do_remote_prefill":false,"remote_engine_id":null,"remote_block_ids":null,' +
  '"remote_host":null,"remote_port":null}';

/** `rest` follows in every leg: what no connector touches. */
const REST = '"seed":12345678901234567890,"temperature":1.0,"x":{"ü🗝":"\\u00fc\\ud83d"}}';
const MESSAGES = '"messages":[{"role":"user","content":"h\\u00ef"}]';

const CHAT =
  `{"model":"m",${MESSAGES},"stream":true,"stream_options":{"include_usage":true},"max_tokens":50,` +
  `"max_completion_tokens":60,"min_tokens":5,${REST}`;
const COMPLETION = `{"model":"m","prompt":"h\\u00ef","max_tokens":50,${REST}`;
const MESSAGE = `{"model":"m","max_tokens":50,${MESSAGES},"stream":true,${REST}`;
const RESPONSE = `{"model":"m","input":"hi","max_output_tokens":50,"stream":true,${REST}`;
const GENERATE = `{"model":"m","token_ids":[1,2],"sampling_params":{"max_tokens":50,"min_tokens":5,"top_p":1.0},${REST}`;

/** A request with members before its own. */
const before = (members: string, body: string) => `{${members},${body.slice(1)}`;
const room = '"bootstrap_host":"127.0.0.1","bootstrap_port":8998,"bootstrap_room":<room>';
const mooncakePrefill =
  '"kv_transfer_params":{"do_remote_prefill":false,"do_remote_decode":true,"transfer_id":"xfer-<id>"}';
const mooncakeDecode =
  '"kv_transfer_params":{"do_remote_prefill":true,"do_remote_decode":false,"transfer_id":"xfer-<id>",' +
  '"remote_bootstrap_addr":"http://127.0.0.1:<port>","remote_engine_id":"engine-0"}';
const offloadingPrefill = '"kv_transfer_params":{"remote_decoder":{"kv_request_id":"<id>"}}';
const offloadingDecode =
  '"kv_transfer_params":{"remote_prefiller":{"kv_request_id":"<id>","remote_host":"127.0.0.1",' +
  '"remote_port":7777}}';

const NIXLV2: LegRow[] = [
  {
    connector: "nixlv2",
    api: "chat",
    name: "every limit and a stream",
    body: CHAT,
    prefill:
      `{"kv_transfer_params":${ASKED},"model":"m",${MESSAGES},"stream":false,"max_tokens":1,` +
      `"max_completion_tokens":1,"min_tokens":1,${REST}`,
    decode: before(`"kv_transfer_params":${PARAMS}`, CHAT),
  },
  {
    connector: "nixlv2",
    api: "completions",
    name: "limits that the client did not send",
    body: COMPLETION,
    prefill:
      `{"stream":false,"max_completion_tokens":1,"min_tokens":1,"kv_transfer_params":${ASKED},` +
      `"model":"m","prompt":"h\\u00ef","max_tokens":1,${REST}`,
    decode: before(`"kv_transfer_params":${PARAMS}`, COMPLETION),
  },
  {
    connector: "nixlv2",
    api: "messages",
    name: "a stream",
    body: MESSAGE,
    prefill:
      `{"max_completion_tokens":1,"min_tokens":1,"kv_transfer_params":${ASKED},"model":"m",` +
      `"max_tokens":1,${MESSAGES},"stream":false,${REST}`,
    decode: before(`"kv_transfer_params":${PARAMS}`, MESSAGE),
  },
  {
    connector: "nixlv2",
    api: "responses",
    name: "a stream",
    body: RESPONSE,
    prefill: `{"kv_transfer_params":${ASKED},"model":"m","input":"hi","max_output_tokens":1,"stream":false,${REST}`,
    decode: before(`"kv_transfer_params":${PARAMS}`, RESPONSE),
  },
  {
    connector: "nixlv2",
    api: "generate",
    name: "limits inside sampling_params",
    body: GENERATE,
    prefill:
      `{"stream":false,"kv_transfer_params":${ASKED},"model":"m","token_ids":[1,2],` +
      `"sampling_params":{"max_tokens":1,"min_tokens":1,"top_p":1.0},${REST}`,
    decode: before(`"kv_transfer_params":${PARAMS}`, GENERATE),
  },
  {
    connector: "nixlv2",
    api: "generate",
    name: "no sampling_params",
    body: '{"token_ids":[1]}',
    prefill:
      '{"stream":false,"sampling_params":{"max_tokens":1,"min_tokens":1},' +
      `"kv_transfer_params":${ASKED},"token_ids":[1]}`,
    decode: `{"kv_transfer_params":${PARAMS},"token_ids":[1]}`,
  },
];

/** Prefills of one token as shared-storage, mooncake and offloading have them. */
interface ShortPrefill {
  readonly api: StagedApi;
  readonly name: string;
  readonly body: string;
  /** The prefill where `members` come before. */
  prefill(members: string): string;
}

const SHORT: ShortPrefill[] = [
  {
    api: "chat",
    // The sidecar leaves min_tokens, which no engine takes above max_tokens.
    name: "every limit and a stream",
    body: CHAT,
    prefill: (members) =>
      `{${members},"model":"m",${MESSAGES},"stream":false,"max_tokens":1,"max_completion_tokens":1,${REST}`,
  },
  {
    api: "completions",
    name: "a limit",
    body: COMPLETION,
    prefill: (members) =>
      `{"stream":false,${members},"model":"m","prompt":"h\\u00ef","max_tokens":1,${REST}`,
  },
  {
    api: "messages",
    name: "a stream",
    body: MESSAGE,
    prefill: (members) =>
      `{${members},"model":"m","max_tokens":1,${MESSAGES},"stream":false,${REST}`,
  },
  {
    api: "responses",
    // The sidecar sets max_tokens, which this API does not know.
    name: "a stream",
    body: RESPONSE,
    prefill: (members) =>
      `{${members},"model":"m","input":"hi","max_output_tokens":1,"stream":false,${REST}`,
  },
  {
    api: "generate",
    // As above.
    name: "limits inside sampling_params",
    body: GENERATE,
    prefill: (members) =>
      `{"stream":false,${members},"model":"m","token_ids":[1,2],"sampling_params":{"max_tokens":1,"top_p":1.0},${REST}`,
  },
];

function shortRows(connector: ConnectorName, prefill: string, decode: string): LegRow[] {
  return SHORT.map((row) => ({
    ...row,
    connector,
    prefill: row.prefill(prefill),
    decode: before(decode, row.body),
  }));
}

/** shared-storage names max_completion_tokens also where the client did not. */
function sharedStorageRows(): LegRow[] {
  const threshold = '"cache_hit_threshold":0';
  return shortRows("shared-storage", threshold, threshold).map((row) => {
    const isNamed = row.api !== "completions" && row.api !== "messages";
    const named = `"max_completion_tokens":1,${threshold}`;
    return isNamed ? row : { ...row, prefill: row.prefill.replace(threshold, named) };
  });
}

const SGLANG: LegRow[] = [CHAT, COMPLETION, MESSAGE, RESPONSE, GENERATE].map((body, i) => ({
  connector: "sglang",
  api: (["chat", "completions", "messages", "responses", "generate"] as const)[i]!,
  name: "no limit touched",
  body,
  prefill: before(room, body),
  decode: before(room, body),
}));

export const LEG_TABLE: readonly LegRow[] = [
  ...NIXLV2,
  ...sharedStorageRows(),
  ...SGLANG,
  ...shortRows("mooncake", mooncakePrefill, mooncakeDecode),
  ...shortRows("offloading", offloadingPrefill, offloadingDecode),
];

const ID = /[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}/g;
const ROOM = /(?<="bootstrap_room":)\d+/g;

/** A leg with what is new for each hand-off taken out. */
export function withoutNames(leg: string): string {
  return leg.replaceAll(ID, "<id>").replaceAll(ROOM, "<room>");
}

/** What is new for each hand-off: equal on both legs. */
export function namesIn(leg: string): string[] {
  return [...leg.matchAll(ID), ...leg.matchAll(ROOM)].map(([name]) => name);
}
