// mm-embeddings-cache-producer: which of the request's images, audio and video each endpoint has encoded
// before.
//
//   matchedSize[slot] = sum of the sizes of the media that were sent there lately, each once
//   totalSize         = sum of the sizes of all, each once          in prompt tokens, estimated
//
// Source: llm-d-router pkg/epp/framework/plugins/requestcontrol/dataproducer/multimodal. An endpoint is
// taken to hold the last cacheSizeInMBPerServer / 2 media that were sent there, whatever their size. What
// is remembered is bounded for all endpoints together, by MEDIA_BYTES_MAX; llm-d's is for each. It is lost
// with the object and learned again from what is sent. A media's name is its data or its URL: what a
// URL names may change. O(media * endpoints / 32), no allocation.

import { z } from "zod";
import { PrefixTree } from "../../kv/prefix-tree.ts";
import { ENDPOINTS_MAX } from "../../model/endpoint-table.ts";
import { REQUEST_FACTS_LIMITS, type RequestMedia } from "../../model/inference-request.ts";
import { type DataProducer, defineDataProducer, type PickContext } from "../../plugin.ts";

/** llm-d's estimate of one encoded item. */
const MEDIA_MIB = 2;
/** All that one producer remembers: about 50,000 media of an endpoint each. */
const MEDIA_BYTES_MAX = 2 * 1024 * 1024;

const params = z.strictObject({
  cacheSizeInMBPerServer: z
    .int()
    .min(MEDIA_MIB)
    .default(4096)
    .describe("Size of an endpoint's encoder cache in MiB, of which an item takes two"),
});

class MmEmbeddingsCacheProducer implements DataProducer {
  readonly #capacity: number;
  /** A tree of paths of one block: who has which media, each endpoint's oldest going first. */
  readonly #media = new PrefixTree({ slotsMax: ENDPOINTS_MAX, bytesMax: MEDIA_BYTES_MAX });
  readonly #match = { matchedSize: new Float64Array(ENDPOINTS_MAX), totalSize: 0 };
  readonly data = { "media-match": this.#match };
  /** Scratch: 1 by slot for one media; and that media's key. */
  readonly #holds = new Int32Array(ENDPOINTS_MAX);
  readonly #key = new Uint32Array(2);

  constructor({ cacheSizeInMBPerServer }: z.output<typeof params>) {
    this.#capacity = Math.floor(cacheSizeInMBPerServer / MEDIA_MIB);
  }

  produce({ request, candidates, candidateCount }: PickContext): void {
    const { matchedSize } = this.#match;
    this.#match.totalSize = 0;
    for (let i = 0; i < candidateCount; i++) matchedSize[candidates[i]!] = 0;
    const { media } = request;
    if (media === undefined) return;
    for (let m = 0; m < countOf(media); m++) {
      if (isRepeated(media.hashes, m)) continue;
      const size = media.tokens[m]!;
      this.#match.totalSize += size;
      this.#media.match(this.#keyOf(media, m), this.#holds);
      for (let i = 0; i < candidateCount; i++) {
        const slot = candidates[i]!;
        matchedSize[slot]! += this.#holds[slot]! * size;
      }
    }
  }

  onPicked({ request }: PickContext, slot: number): void {
    const { media } = request;
    if (media === undefined) return;
    this.#media.setCapacity(slot, this.#capacity);
    for (let m = 0; m < countOf(media); m++) this.#media.insert(this.#keyOf(media, m), slot);
  }

  onEndpointRemoved(slot: number): void {
    this.#media.removeEndpoint(slot);
  }

  onEndpointRestarted(slot: number): void {
    this.#media.removeEndpoint(slot);
  }

  #keyOf({ hashes }: RequestMedia, index: number): Uint32Array {
    this.#key[0] = hashes[2 * index]!;
    this.#key[1] = hashes[2 * index + 1]!;
    return this.#key;
  }
}

function countOf({ hashes }: RequestMedia): number {
  return Math.min(hashes.length >>> 1, REQUEST_FACTS_LIMITS.mediaMax);
}

/** Whether the media at `index` was there before in the request. */
function isRepeated(hashes: Uint32Array, index: number): boolean {
  for (let at = 0; at < index; at++) {
    if (hashes[2 * at] === hashes[2 * index] && hashes[2 * at + 1] === hashes[2 * index + 1])
      return true;
  }
  return false;
}

export const mmEmbeddingsCacheProducer = defineDataProducer({
  type: "mm-embeddings-cache-producer",
  produces: ["media-match"],
  params,
  needsObject: () => "remembers where the pool's media went",
  create: (given) => new MmEmbeddingsCacheProducer(given),
});
