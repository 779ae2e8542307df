const needed = [22, 13] as const;

/** Ends the process with a message for people when this Node is too old. */
export function assertNodeVersion(version: string): void {
  if (isSupported(version)) return;
  process.stderr.write(
    `Warren needs Node.js ${needed.join(".")} or newer; this is ${version}.\n` +
      "Install a current release (https://nodejs.org), or run `npx -p node@24 -p warrenmq warren serve`.\n",
  );
  process.exit(1);
}

export function isSupported(version: string): boolean {
  const [major = 0, minor = 0] = version.split(".").map(Number);
  return major > needed[0] || (major === needed[0] && minor >= needed[1]);
}
