/**
 * Text in messages that the broker passes on need not be UTF-8. Where it looks at such text it must be able to write the same
 * bytes again: what is not UTF-8 is read byte by byte, with lone surrogates for bytes from 0x80 (as Python's "surrogateescape").
 */
const strictUtf8 = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });
const utf8 = new TextEncoder();
const escapes = 0xdc00;

export function decodeText(bytes: Uint8Array): string {
  try {
    return strictUtf8.decode(bytes);
  } catch {
    return String.fromCharCode(...Array.from(bytes, (octet) => (octet < 0x80 ? octet : escapes + octet)));
  }
}

export function encodeText(text: string): Uint8Array {
  if (text.isWellFormed()) return utf8.encode(text);
  const parts = Array.from(text, (character) => {
    const code = character.charCodeAt(0);
    const isEscape = character.length === 1 && code >= escapes + 0x80 && code <= escapes + 0xff;
    return isEscape ? Uint8Array.of(code - escapes) : utf8.encode(character);
  });
  return Buffer.concat(parts);
}
