/** The explanation as text. */
export function renderExplanation(body: unknown): string {
  return `${JSON.stringify(body, null, 2)}\n`;
}
