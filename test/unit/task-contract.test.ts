import { type } from "arktype";
import * as v from "valibot";
import { describe, expect, expectTypeOf, test } from "vitest";
import { z } from "zod";
import { defineTask, Retry, ValidationError, type Context, type Handler } from "../../src/tasks/index.ts";
import { KnownQueues } from "../../src/tasks/queue.ts";
import { validate } from "../../src/tasks/validate.ts";

describe("a task's contract", () => {
  test("any Standard Schema checks it and names the path of what is wrong", async () => {
    const schemas = [
      z.object({ to: z.array(z.object({ name: z.string() })) }),
      v.object({ to: v.array(v.object({ name: v.string() })) }),
      type({ to: type({ name: "string" }).array() }),
    ];
    for (const schema of schemas) {
      const good = { to: [{ name: "a" }] };
      expect(await validate(schema, good, "input")).toEqual(good);
      const wrong = validate(schema, { to: [{ name: "a" }, { name: 1 }] }, "input of task 'x'");
      await expect(wrong).rejects.toThrow(ValidationError);
      await expect(wrong).rejects.toThrow(/^input of task 'x': to\.1\.name: /);
      await expect(wrong).rejects.toMatchObject({ issues: [{ path: "to.1.name" }] });
    }
  });

  test("types of input and output are inferred, before and after the schema's transformations", () => {
    const task = defineTask("x", {
      input: z.object({ at: z.string().transform((text) => new Date(text)), times: z.number().default(1) }),
      output: v.pipe(v.number(), v.transform(String)),
    });
    type HandlerOfX = Handler<NonNullable<typeof task.input>, NonNullable<typeof task.output>>;
    expectTypeOf<HandlerOfX>().parameter(0).toEqualTypeOf<{ at: Date; times: number }>();
    expectTypeOf<HandlerOfX>().parameter(1).toEqualTypeOf<Context>();
    expectTypeOf<HandlerOfX>().returns.toEqualTypeOf<number | Promise<number>>();
  });

  test("what makes no sense is refused when it is defined", () => {
    expect(() => defineTask("")).toThrow(/needs a name/);
    expect(() => defineTask("x", { ttl: -1 })).toThrow("ttl of task 'x' is -1; it must be a whole number");
    expect(() => defineTask("x", { priority: 1.5 })).toThrow(/priority of task 'x' is 1.5/);
    expect(() => defineTask("x", { timeout: 0 })).toThrow(/timeout/);
    expect(() => defineTask("x", { retry: { maxDelay: 2 ** 32 } })).toThrow(/longer than the longest/);
    expect(() => new Retry({ after: 2 ** 32 })).toThrow(RangeError);
    const queues = new KnownQueues();
    expect(() => queues.of(defineTask("x", { queue: "a.#.b" }))).toThrow(
      /'a\.#\.b' cannot be a task queue's name/,
    );
    expect(() => queues.of(defineTask("x", { queue: "" }))).toThrow(TypeError);
  });

  test("two tasks that describe one queue differently are told of each other", () => {
    const queues = new KnownQueues();
    const queue = queues.of(defineTask("one", { queue: "shared" }));
    expect(queues.of(defineTask("two", { queue: { name: "shared" } }))).toBe(queue);
    expect(() => queues.of(defineTask("three", { queue: { name: "shared", maxPriority: 3 } }))).toThrow(
      /Tasks 'one' and 'three' share the queue 'shared' and describe it differently/,
    );
    expect(queues.all).toEqual([queue]);
  });
});
