// Names that clients choose, such as models and flows, on an operator's terminal.

// oxlint-disable-next-line no-control-regex -- it is for them
const CONTROL = /[\u0000-\u0009\u000b-\u001f\u007f-\u009f\u2028-\u202e\u2066-\u2069]/g;

/** The same text, but nothing of it can move the cursor, change colours or turn the writing around. */
export function printable(text: string): string {
  return text.replaceAll(CONTROL, "\uFFFD");
}
