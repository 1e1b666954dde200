// A list, page by page, and never more of it in memory than one page and what is kept.

import { describe, type ApiAnswer, type ClusterApi } from "./cluster-api.ts";
import { listSchema, namedSchema } from "./object.ts";

/** Objects of a page: some 2 MB of pods, and 15 ms of the agent's time. */
const PAGE_OBJECTS = 100;
const PAGE_BYTES_MAX = 32 * 1024 * 1024;
const PAGE_MS_MAX = 30_000;
/** A server that never comes to an end is not asked for ever. */
const PAGES_MAX = 1_000;

export interface ReadListOptions<T> {
  readonly api: ClusterApi;
  readonly path: string;
  readonly query: Readonly<Record<string, string>>;
  readonly signal: AbortSignal;
  readonly objectsMax: number;
  readonly parse: (object: unknown) => T | undefined;
}

export type ListAnswer<T> =
  | {
      readonly ok: true;
      /** By name. */
      readonly items: Map<string, T>;
      /** Objects after `objectsMax`. */
      readonly leftOut: number;
      readonly version: string;
    }
  | {
      readonly ok: false;
      /** 0: no answer, or one that is no list. */
      readonly status: number;
      readonly problem: string;
      readonly retryAfterMs: number;
    };

/** Never rejects. A list that breaks off, or whose token expires, is no list: nothing of it is given. */
export async function readList<T>(options: ReadListOptions<T>): Promise<ListAnswer<T>> {
  const items = new Map<string, T>();
  let leftOut = 0;
  let token: string | undefined;
  for (let page = 0; page < PAGES_MAX; page++) {
    const answer = await readPage(options, token);
    if (!answer.ok) return answer;
    for (const object of answer.list.items) {
      const item = options.parse(object);
      const name = namedSchema.safeParse(object).data?.metadata.name;
      if (item === undefined || name === undefined) continue;
      if (items.size >= options.objectsMax && !items.has(name)) leftOut += 1;
      else items.set(name, item);
    }
    const { metadata } = answer.list;
    token = metadata.continue === "" ? undefined : metadata.continue;
    if (token === undefined) return { ok: true, items, leftOut, version: metadata.resourceVersion };
  }
  return unreadable(`a list of more than ${PAGES_MAX} pages`);
}

async function readPage<T>({ api, path, query, signal }: ReadListOptions<T>, token?: string) {
  const continued = token === undefined ? {} : { continue: token };
  const answer = await api.get(
    path,
    { ...query, limit: String(PAGE_OBJECTS), ...continued },
    AbortSignal.any([signal, AbortSignal.timeout(PAGE_MS_MAX)]),
  );
  if (!answer.ok) return answer;
  try {
    const list = listSchema.safeParse(JSON.parse(await readText(answer)));
    if (list.success) return { ok: true as const, list: list.data };
    return unreadable(`${path} answered with no list`);
  } catch (error) {
    return unreadable(describe(error));
  } finally {
    answer.end();
  }
}

async function readText({ body }: ApiAnswer & { ok: true }): Promise<string> {
  const chunks: Uint8Array[] = [];
  let size = 0;
  for await (const chunk of body) {
    size += chunk.byteLength;
    if (size > PAGE_BYTES_MAX) throw new Error(`a page of more than ${PAGE_BYTES_MAX} bytes`);
    chunks.push(chunk);
  }
  return Buffer.concat(chunks).toString("utf8");
}

function unreadable(problem: string) {
  return { ok: false as const, status: 0, problem, retryAfterMs: 0 };
}
