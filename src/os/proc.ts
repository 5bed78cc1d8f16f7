/** Reading /proc, where what is looked at may be gone at any moment, or be somebody else's: then there is nothing. */
import { readdirSync, readFileSync, readlinkSync, writeFileSync } from 'node:fs';
import { isOutsideFault } from '../errors.ts';

/** The numbers of all processes that are to be seen. */
export function processIds(): string[] {
  return namesIn('/proc').filter((name) => /^\d+$/.test(name));
}

/** The name of its program, at most 15 chars. */
export function commandOf(pid: string): string {
  return textOf(`/proc/${pid}/comm`).trimEnd();
}

export function textOf(file: string): string {
  try {
    return readFileSync(file, 'utf8');
  } catch {
    return '';
  }
}

export function namesIn(dir: string): string[] {
  try {
    return readdirSync(dir);
  } catch {
    return [];
  }
}

export function linkOf(file: string): string {
  try {
    return readlinkSync(file);
  } catch {
    return '';
  }
}

/** What ps, top and systemd call this process, at most 15 bytes. Where that cannot be set, it keeps its name. */
export function setProcessName(name: string): void {
  try {
    writeFileSync('/proc/self/comm', name);
  } catch (error) {
    if (!isOutsideFault(error)) throw error;
  }
}
