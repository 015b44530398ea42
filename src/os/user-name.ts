/** Names of users, from /etc/passwd (passwd(5)). */
import { readFileSync } from 'node:fs';

/** The name of a user, or undefined where the file does not have one. */
export function userName(id: number): string | undefined {
  return parseUserNames(readPasswd()).get(id);
}

/** Names by number; of several names for one number the first. */
export function parseUserNames(text: string): Map<number, string> {
  const names = new Map<number, string>();
  for (const line of text.split('\n')) {
    const [name = '', , id = ''] = line.split(':');
    if (name !== '' && /^\d+$/.test(id) && !names.has(Number(id))) names.set(Number(id), name);
  }
  return names;
}

function readPasswd(): string {
  try {
    return readFileSync('/etc/passwd', 'utf8');
  } catch {
    return ''; // a system without it: numbers will do
  }
}
