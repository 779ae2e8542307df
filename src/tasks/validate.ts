import { ValidationError } from "./errors.ts";
import type { Schema } from "./task.ts";

/**
 * What the schema makes of the value; the value itself without one.
 *
 * @throws ValidationError that names each path, `what` before them.
 */
export async function validate(schema: Schema | undefined, value: unknown, what: string): Promise<unknown> {
  if (schema === undefined) return value;
  const result = await schema["~standard"].validate(value);
  if (result.issues === undefined) return result.value;
  throw new ValidationError(
    what,
    result.issues.map(({ path = [], message }) => ({
      path: path.map((part) => String(typeof part === "object" ? part.key : part)).join("."),
      message,
    })),
  );
}
