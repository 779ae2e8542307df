import { badRequest, HttpError } from "../http-error.ts";

/** Changes users, permissions or virtual hosts; what the broker says against it is the client's mistake. */
export async function asAdmin(work: () => Promise<void>): Promise<void> {
  try {
    await work();
  } catch (error) {
    if (error instanceof HttpError) throw error;
    throw badRequest((error as Error).message);
  }
}
