import { z } from "zod";
import { defineTask } from "../../src/tasks/index.ts"; // in your own program: "warrenmq"

/** What the API sends and the mailer does. Both load this file, and nothing of each other. */
export const welcomeEmail = defineTask("email.welcome", {
  input: z.object({ name: z.string().min(1), to: z.email() }),
  output: z.object({ file: z.string() }),
  queue: "signup-email",
  // Whoever presses the button twice gets one mail.
  idempotencyKey: ({ to }) => to.toLowerCase(),
  retry: { retries: 5, delay: 500 },
  timeout: 10_000,
});
