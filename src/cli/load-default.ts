import { resolve } from "node:path";
import { pathToFileURL } from "node:url";

/** The function that a file of the user's exports as its default. @throws Error that says what the file should be like */
export async function loadDefault<F>(file: string, example: string): Promise<F> {
  let module: { default?: unknown };
  try {
    module = (await import(pathToFileURL(resolve(file)).href)) as typeof module;
  } catch (error) {
    throw new Error(`Cannot load ${file}: ${(error as Error).message}`, { cause: error });
  }
  if (typeof module.default === "function") return module.default as F;
  throw new Error(`${file} must export a function as its default: export default ${example}`);
}
