import { badRequest } from "../http-error.ts";

/** A list, or a text with commas between them. @throws HttpError 400 */
export function tagsOf(given: unknown): readonly string[] {
  const tags: unknown = typeof given === "string" ? given.split(",") : given;
  if (!Array.isArray(tags) || !tags.every((tag) => typeof tag === "string"))
    throw badRequest("tags are a list of words, or a text with commas between them");
  return tags.map((tag) => tag.trim()).filter((tag) => tag !== "");
}
