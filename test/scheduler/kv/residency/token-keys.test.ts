import { describe, expect, it } from "vitest";
import type { KvExtraKey } from "../../../../src/scheduler/kv/residency/kv-event.ts";
import { tokenBlockKeys } from "../../../../src/scheduler/kv/residency/token-keys.ts";

const TOKENS = Uint32Array.from({ length: 64 }, (_, i) => i * 7);
const media = (identifier: string, offset = 0): KvExtraKey => ({
  kind: "media",
  identifier,
  offset,
});
const text = (value: string): KvExtraKey => ({ kind: "text", text: value });

function keys(
  change: Partial<Parameters<typeof tokenBlockKeys>[0]> = {},
): readonly (readonly number[])[] {
  const words = tokenBlockKeys({
    adapter: null,
    tokens: TOKENS,
    blockSize: 16,
    extraKeys: [],
    ...change,
  });
  return Array.from({ length: words.length / 2 }, (_, i) => [words[i * 2]!, words[i * 2 + 1]!]);
}

describe("tokenBlockKeys", () => {
  it("names full blocks only, each with everything before it", () => {
    const whole = keys();
    expect(whole).toHaveLength(4);
    expect(keys({ tokens: TOKENS.subarray(0, 47) })).toEqual(whole.slice(0, 2));
    const changed = TOKENS.slice();
    changed[0] = 9;
    const other = keys({ tokens: changed });
    expect(whole.filter((key, i) => key[0] === other[i]![0] || key[1] === other[i]![1])).toEqual(
      [],
    );
  });

  it("gives a large block the key of the last of the small ones that it is made of", () => {
    const small = keys();
    expect(keys({ blockSize: 32 })).toEqual([small[1], small[3]]);
    expect(keys({ blockSize: 1 })[15]).toEqual(small[0]);
  });

  it("keeps adapters, salts, media and digests apart, each where it enters", () => {
    const plain = keys();
    const variants = [
      keys({ adapter: "" }),
      keys({ adapter: "ab" }),
      keys({ adapter: "ba" }),
      keys({ extraKeys: [[text("salt")]] }),
      keys({ extraKeys: [[text("sal"), text("t")]] }),
      keys({ extraKeys: [[{ kind: "digest", bytes: Uint8Array.of(115, 97, 108, 116) }]] }),
      keys({ extraKeys: [[media("image-a"), text("salt")]] }),
    ];
    const firsts = [plain, ...variants].map((each) => each[0]!.join(":"));
    expect(new Set(firsts).size).toBe(firsts.length);
    const later = keys({ extraKeys: [[], [], [media("image-a")]] });
    expect(later.slice(0, 2)).toEqual(plain.slice(0, 2));
    expect(later[2]).not.toEqual(plain[2]);
    expect(later[3]).not.toEqual(plain[3]);
  });

  it("lets a media item enter once, before its first token, however text is cut", () => {
    const items = [media("image-a", 4), media("image-b", 20), media("image-c", 47)];
    const at = (blockSize: number) => {
      // As engines tell them: at each block that an item of ten tokens is in.
      const extraKeys = Array.from({ length: 64 / blockSize }, (_, block) => {
        const from = block * blockSize;
        return items.flatMap((item) => {
          if (item.kind !== "media" || item.offset >= from + blockSize) return [];
          return item.offset + 10 > from ? [media(item.identifier, item.offset - from)] : [];
        });
      });
      return keys({ blockSize, extraKeys });
    };
    const small = at(8);
    expect(at(16)).toEqual([small[1], small[3], small[5], small[7]]);
    expect(at(32)).toEqual([small[3], small[7]]);
    expect(new Set([keys()[0], at(16)[0]].map(String)).size).toBe(2);
    expect(keys({ extraKeys: [[media("image-a", 4)]] })[0]).not.toEqual(
      keys({ extraKeys: [[media("image-a", 5)]] })[0],
    );
  });

  it("keeps apart what media without a place show", () => {
    expect(keys({ extraKeys: [[], [text("image-a")]] })[1]).not.toEqual(
      keys({ extraKeys: [[], [text("image-b")]] })[1],
    );
  });
});
