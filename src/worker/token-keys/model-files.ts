// A model's files for tokenizing at the edge: from an R2 bucket, from the Worker's assets, or from the web.
// Where they are is configuration, so who can name a file here can configure the deployment.

import { type FileLocation, parseFileLocation } from "../../config/prefix-keys.ts";
import { readBounded } from "./read-bounded.ts";

/** Until a file is there, all of it. */
export const FILE_MS_MAX = 20_000;

/** Optional bindings of the Worker; see wrangler.toml. */
export interface FileBindings {
  readonly MODEL_FILES?: R2Bucket;
  readonly ASSETS?: Fetcher;
}

/** Why a tokenizer is not used: a sentence for the operator, which the log has. */
export class TokenizerError extends Error {}

/** A file's bytes. Throws TokenizerError. */
export async function readModelFile(
  location: string,
  bytesMax: number,
  bindings: FileBindings,
): Promise<Uint8Array<ArrayBuffer>> {
  const parsed = parseFileLocation(location);
  if (parsed === undefined) throw new TokenizerError("the configuration names no place of a file");
  const name = shownLocation(location);
  let bytes: Uint8Array<ArrayBuffer> | undefined;
  try {
    bytes = await readBounded(await openFile(parsed, name, bindings), bytesMax);
  } catch (error) {
    if (error instanceof TokenizerError) throw error;
    // Unreachable, broken off, or out of time. What fetch says may name all of the URL.
    throw new TokenizerError(`${name} could not be read`);
  }
  if (bytes !== undefined) return bytes;
  throw new TokenizerError(`${name} has more than the ${bytesMax} bytes that an isolate can bear`);
}

async function openFile(
  place: FileLocation,
  name: string,
  { MODEL_FILES: bucket, ASSETS: assets }: FileBindings,
): Promise<ReadableStream<Uint8Array>> {
  switch (place.kind) {
    case "r2": {
      if (bucket === undefined) throw new TokenizerError("there is no R2 binding MODEL_FILES");
      const object = await bucket.get(place.key);
      if (object === null) throw new TokenizerError(`${name} is not in the bucket`);
      return object.body;
    }
    case "assets":
      if (assets === undefined) throw new TokenizerError("there is no binding ASSETS");
      return bodyOf(await assets.fetch(`https://assets.invalid${place.path}`), name);
    case "url": {
      const signal = AbortSignal.timeout(FILE_MS_MAX);
      return bodyOf(await fetch(place.url, { signal }), name);
    }
  }
}

async function bodyOf(response: Response, name: string): Promise<ReadableStream<Uint8Array>> {
  if (response.ok && response.body !== null) return response.body;
  await response.body?.cancel();
  throw new TokenizerError(`${name} is answered with ${response.status}`);
}

/** A query may hold a signature, and what stands before a host a password. */
function shownLocation(location: string): string {
  if (!location.startsWith("http")) return location;
  const { origin, pathname } = new URL(location);
  return origin + pathname;
}
