import { describe, expect, test } from "vitest";
import { NamePattern, topicPattern } from "../../src/broker/auth/name-pattern.ts";

describe("a permission's pattern", () => {
  test.each([
    [".*", "anything\nat all", true],
    ["", "", true],
    ["", "q", false],
    ["^$", "q", false],
    ["b", "abc", true],
    ["^b", "abc", false],
    [String.raw`^tasks\..*\-high$`, "tasks.mail-high", true],
    [String.raw`^tasks\..*\-high$`, "tasks_mail-high", false],
    [String.raw`^[a-z\-]+$`, "a-b", true],
    [String.raw`^\@team\:`, "@team:x", true],
    ["^(amq\\.gen.*|amq\\.default)$", "amq.default", true],
    ["(?i)^Tasks", "TASKS", true],
    ["^(?!secret)", "secret", false],
  ])("%j finds itself in %j: %s", (pattern, name, isFound) => {
    expect(new NamePattern(pattern).matches(name)).toBe(isFound);
  });

  test.each([String.raw`\A`, String.raw`tasks\z`, "[[:alpha:]]", "a++", "(", "(?x)a", "a{", "*"])(
    "%j is refused: it would mean something else here, or nothing anywhere",
    (pattern) => {
      expect(() => new NamePattern(pattern)).toThrow("cannot be used as a regular expression");
    },
  );

  test("a topic pattern takes the names of user and virtual host as they are written", () => {
    const pattern = topicPattern(String.raw`^{username}\.{vhost}\.`, "a.d+a", "/");
    expect(pattern.matches("a.d+a./.x")).toBe(true);
    expect(pattern.matches("axd+a./.x")).toBe(false);
    expect(pattern.text).toBe(String.raw`^{username}\.{vhost}\.`);
  });
});
