import { createContext, Script } from "node:vm";

/** All names together: an expression that takes for ever must not hold up the broker. */
const timeoutMs = 50;

const script = new Script(
  "const matcher = new RegExp(pattern, 'i'); names.map((name) => matcher.test(name))",
);

/**
 * Which of the names a regular expression matches, whatever the case of letters; undefined when it is none, or takes too
 * long. It runs apart, since that is how an expression can be stopped.
 */
export function matchingNames(pattern: string, names: readonly string[]): readonly boolean[] | undefined {
  try {
    const context = createContext({ pattern, names });
    return [...(script.runInContext(context, { timeout: timeoutMs }) as boolean[])];
  } catch {
    return undefined;
  }
}
