// Width and height of an image in a data URL, from the first bytes of it: PNG, JPEG, GIF.

export interface ImageSize {
  readonly width: number;
  readonly height: number;
}

/** Bytes looked at: first few, then as many as a JPEG's profile and thumbnail take before its size. */
const HEAD_BYTES = [1_536, 96 * 1024] as const;

/** Undefined for what is not such a URL, or whose size is not found. */
export function readImageSize(url: string): ImageSize | undefined {
  const prefix = /^data:image\/[a-z0-9.+-]{1,32};base64,/i.exec(url)?.[0];
  if (prefix === undefined) return undefined;
  for (const bytesMax of HEAD_BYTES) {
    const head = decodeHead(url, prefix.length, bytesMax);
    if (head === undefined) return undefined;
    const size = readPng(head) ?? readGif(head) ?? readJpeg(head);
    if (size !== undefined) return size.width > 0 && size.height > 0 ? size : undefined;
    if (head.byteLength < bytesMax) return undefined;
  }
  return undefined;
}

/** `bytesMax` is a multiple of three. */
function decodeHead(url: string, from: number, bytesMax: number): DataView | undefined {
  // Four characters are three bytes; a whole number of fours decodes by itself.
  const chars = (bytesMax / 3) * 4;
  try {
    const text = atob(url.slice(from, from + chars));
    const bytes = Uint8Array.from(text, (char) => char.charCodeAt(0));
    return new DataView(bytes.buffer);
  } catch {
    // Not base64.
    return undefined;
  }
}

function readPng(head: DataView): ImageSize | undefined {
  if (head.byteLength < 24 || head.getUint32(0) !== 0x89_50_4e_47) return undefined;
  return { width: head.getUint32(16), height: head.getUint32(20) };
}

function readGif(head: DataView): ImageSize | undefined {
  // "GIF8"
  if (head.byteLength < 10 || head.getUint32(0) !== 0x47_49_46_38) return undefined;
  return { width: head.getUint16(6, true), height: head.getUint16(8, true) };
}

/** Walks the segments up to the frame's header. */
function readJpeg(head: DataView): ImageSize | undefined {
  if (head.byteLength < 4 || head.getUint16(0) !== 0xffd8) return undefined;
  for (let at = 2; at + 9 <= head.byteLength;) {
    if (head.getUint8(at) !== 0xff) return undefined;
    const marker = head.getUint8(at + 1);
    if (marker === 0xff) {
      // A byte that fills up.
      at += 1;
    } else if (isFrame(marker)) {
      return { width: head.getUint16(at + 7), height: head.getUint16(at + 5) };
    } else {
      at += 2 + head.getUint16(at + 2);
    }
  }
  return undefined;
}

/** SOF0 to SOF15, but for the three markers in between that are none. */
function isFrame(marker: number): boolean {
  return marker >= 0xc0 && marker <= 0xcf && ![0xc4, 0xc8, 0xcc].includes(marker);
}
