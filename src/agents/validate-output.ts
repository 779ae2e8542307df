import { validate, ValidationError, type Schema } from "../tasks/index.ts";

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
  try {
    await validate(schema, value, "it");
    return undefined;
  } catch (error) {
    if (error instanceof ValidationError) return { by, reason: `${error.message}.` };
    throw error;
  }
}
