/**
 * The API. It answers as soon as the broker has the task, however slow the mailer is, and whether or not one runs.
 *
 *     WARREN_URL=embedded:./data npx node examples/signup-email/api.ts
 *     curl -d '{"name": "Ada", "to": "ada@example.com"}' http://127.0.0.1:3000/signup
 */
import { once } from "node:events";
import { createServer, type IncomingMessage, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { text } from "node:stream/consumers";
import { connect, ValidationError } from "../../src/tasks/index.ts"; // in your own program: "warrenmq"
import { welcomeEmail } from "./contracts.ts";

const bus = await connect(process.env["WARREN_URL"] ?? "embedded:./data");

const server = createServer((request, response) => {
  answer(request, response).catch((error: Error) =>
    reply(response, statusOf(error), { error: error.message }),
  );
});
server.listen(Number(process.env["PORT"] ?? 3000), "127.0.0.1");
await once(server, "listening");
console.log(`http://127.0.0.1:${(server.address() as AddressInfo).port}`);

process.once("SIGTERM", () => {
  server.close();
  void bus.close();
});

async function answer(request: IncomingMessage, response: ServerResponse): Promise<void> {
  const { method, url = "/" } = request;
  const [, id] = /^\/jobs\/([\w-]+)$/.exec(url) ?? [];
  if (method === "POST" && url === "/signup") await signUp(request, response);
  else if (method === "GET" && id !== undefined) reply(response, 200, await bus.job(id).state());
  else reply(response, 404, { error: "there are POST /signup and GET /jobs/:id" });
}

async function signUp(request: IncomingMessage, response: ServerResponse): Promise<void> {
  // Resolves when the broker has the task on disk. Only then is it promised to anybody.
  const job = await bus.send(welcomeEmail, JSON.parse(await text(request)));
  reply(response, 202, { job: job.id });
}

function statusOf(error: Error): number {
  return error instanceof ValidationError || error instanceof SyntaxError ? 400 : 503;
}

function reply(response: ServerResponse, status: number, body: unknown): void {
  response.writeHead(status, { "content-type": "application/json" }).end(JSON.stringify(body));
}
