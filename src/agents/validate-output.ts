import type { Schema } from "../tasks/index.ts";

/** What is wrong with a text that should be JSON of the schema; undefined when nothing is. */
export async function validateOutput(
  schema: Schema,
  text: string,
): Promise<{ by: string; reason: string } | undefined> {
  const by = "outputSchema";
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch (error) {
    return { by, reason: `it is no JSON (${(error as Error).message}).` };
  }
  const { issues } = await schema["~standard"].validate(value);
  if (issues === undefined) return undefined;
  const where = issues.map(({ path = [], message }) =>
    [path.map((part) => (typeof part === "object" ? String(part.key) : String(part))).join("."), message]
      .filter((part) => part !== "")
      .join(": "),
  );
  return { by, reason: `${where.join("; ")}.` };
}
