/** @file Addresses of queues and stores as messages may show them: without user names, passwords and keys. */

/** The address without credentials: what stands before the host's @ and every value after ? is left out. */
export function maskedAddress(address: string): string {
  const shown = address.replace(/^([a-z][a-z0-9+.-]*:\/\/)[^/?#]*@/i, "$1***@");
  return /^[a-z][a-z0-9+.-]*:\/\//i.test(address) ? shown.replace(/[?#].*$/, "") : shown;
}

/** A message of a library, with every secret part of `address` replaced. */
export function maskedMessage(message: string, address: string): string {
  const secrets = new Set<string>();
  if (URL.canParse(address)) {
    const { password, searchParams } = new URL(address);
    for (const part of [password, decoded(password), ...searchParams.values()]) if (part.length > 2) secrets.add(part);
  }
  return [...secrets].reduce((text, secret) => text.replaceAll(secret, "***"), message.replaceAll(address, maskedAddress(address)));
}

function decoded(part: string): string {
  try {
    return decodeURIComponent(part);
  } catch {
    return part; // a bare % in a password
  }
}
