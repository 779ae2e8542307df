import { setTimeout as sleep } from "node:timers/promises";
import { connect, type StepTools } from "../../../src/tasks/index.ts";
import { endWithParent, say, sayingLogger } from "../../tasks/programs/say.ts";
import { payment, type PaymentSettings } from "./payments.ts";

const { target, options, receiverPort, insert, concurrency } = JSON.parse(process.argv[2]) as PaymentSettings;
endWithParent();
const bus = await connect(target, { ...options, logger: sayingLogger });
const worker = bus.worker({ concurrency }).on(payment, async (_input, context) => {
  await context.step("charge", (tools) => post("charge", tools));
  await context.step("book", { effect: "transactional" }, async ({ transaction }) => {
    await transaction.query(insert, [context.taskId, "debit"]);
    await sleep(2);
    await transaction.query(insert, [context.taskId, "credit"]);
  });
  await context.step("letter", { effect: "once" }, (tools) => post("letter", tools));
  return "paid";
});
await worker.start();
say("ready");

async function post(what: string, { idempotencyKey }: StepTools): Promise<string> {
  const headers = { "Idempotency-Key": idempotencyKey };
  const response = await fetch(`http://127.0.0.1:${receiverPort}/${what}`, { method: "POST", headers });
  await response.json();
  return what;
}
