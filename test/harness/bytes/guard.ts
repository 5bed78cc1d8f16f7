/** A folder around the one that readers may write in: whatever comes or changes beside it is seen. */
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';

/** In memory where that can be: inputs are not there to wear out a disk. */
export function scratchBase(): string {
  return process.env.TMPDIR === undefined && fs.existsSync('/dev/shm') ? '/dev/shm' : os.tmpdir();
}

const KEPT = 'kept as it is\n';

export class Guard {
  /** Where the readers may write. */
  readonly inside: string;
  readonly #root: string;
  readonly #before: string;

  constructor() {
    this.#root = fs.mkdtempSync(path.join(scratchBase(), 'litefs-bytes-'));
    this.inside = path.join(this.#root, 'beside/deep/inside');
    fs.mkdirSync(this.inside, { recursive: true });
    for (const name of ['kept', 'beside/kept', 'beside/deep/kept', 'beside/deep/app.db']) {
      fs.writeFileSync(path.join(this.#root, name), KEPT);
    }
    this.#before = this.#look();
  }

  /** What has changed outside; undefined when nothing has. */
  fault(): string | undefined {
    const now = this.#look();
    if (now === this.#before) return undefined;
    return `written outside of its folder: before ${this.#before}, now ${now}`;
  }

  remove(): void {
    fs.rmSync(this.#root, { recursive: true, force: true });
  }

  #look(): string {
    const found: string[] = [];
    const walk = (folder: string) => {
      for (const entry of fs.readdirSync(folder, { withFileTypes: true })) {
        const file = path.join(folder, entry.name);
        if (file === this.inside) continue;
        const { size, mtimeMs, mode } = fs.lstatSync(file);
        // The time of a folder says that something came, also when it has gone again.
        found.push(
          `${path.relative(this.#root, file)} ${mode} ${entry.isDirectory() ? '' : size} ${mtimeMs}`,
        );
        if (entry.isDirectory()) walk(file);
      }
    };
    walk(this.#root);
    return found.sort().join(', ');
  }
}
