/** Fossil as an application for tests: Debian's `fossil` with a web server on a repository, and a checkout elsewhere. */
import assert from 'node:assert/strict';
import { type ChildProcess, spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import fs from 'node:fs';
import path from 'node:path';
import { freePorts, until } from './cluster.ts';

export const USER = 'admin';
const PASSWORD = 'correct horse';

/** Runs fossil with a home of its own in `dir`; its output. Fails the test when fossil fails. */
export function fossil(dir: string, cwd: string, ...args: string[]): string {
  const run = spawnSync('fossil', args, { cwd, env: environment(dir), encoding: 'utf8' });
  const output = `${run.stdout}${run.stderr}`;
  assert.equal(run.status, 0, `fossil ${args.join(' ')}: ${run.error ?? output}`);
  return output;
}

/** A new repository whose one user has a password; `wal`: in WAL mode, else as fossil makes it. */
export function createRepository(dir: string, file: string, wal: boolean): void {
  fossil(dir, dir, 'new', '--admin-user', USER, file);
  fossil(dir, dir, 'user', 'password', USER, PASSWORD, '--repository', file);
  if (wal) fossil(dir, dir, 'rebuild', '--wal', file);
}

/** Somebody with a browser: keeps its cookies, logs in, reads and edits. */
export class FossilUser {
  readonly url: string;
  readonly #cookies = new Map<string, string>();

  constructor(url: string) {
    this.url = url;
  }

  /** Goes on at another node, with the same cookies. */
  at(url: string): FossilUser {
    const other = new FossilUser(url);
    for (const [name, value] of this.#cookies) other.#cookies.set(name, value);
    return other;
  }

  /** The page at a path, with status 200. */
  async page(where: string): Promise<string> {
    const response = await fetch(`${this.url}/${where}`, { headers: { cookie: this.#cookie } });
    this.#keep(response);
    const text = await response.text();
    assert.equal(response.status, 200, `${where}: ${text}`);
    return text;
  }

  /** Fills in the form of the login page; whether that let us in. */
  async login(): Promise<boolean> {
    const response = await this.#post('login', { u: USER, p: PASSWORD, in: 'Login' });
    return response.headers.getSetCookie().some((line) => line.startsWith('fossil-'));
  }

  /** Saves a wiki page as the editor in the browser does; the answer's status and text. */
  async saveWiki(page: string, content: string, isNew: boolean) {
    const fields = { page, content, mimetype: 'text/x-markdown', isnew: isNew ? '1' : '0' };
    const response = await this.#post('wikiajax/save', fields);
    return { status: response.status, text: await response.text() };
  }

  async #post(where: string, fields: Record<string, string>): Promise<Response> {
    const response = await fetch(`${this.url}/${where}`, {
      method: 'POST',
      body: new URLSearchParams(fields),
      headers: { cookie: this.#cookie, referer: `${this.url}/wikiedit` },
      redirect: 'manual',
    });
    this.#keep(response);
    return response;
  }

  /** Where a clone or a checkout reaches it as its user. */
  get remote(): string {
    return this.url.replace('//', `//${USER}:${encodeURIComponent(PASSWORD)}@`);
  }

  get #cookie(): string {
    return [...this.#cookies].map(([name, value]) => `${name}=${value}`).join('; ');
  }

  #keep(response: Response): void {
    for (const line of response.headers.getSetCookie()) {
      const [pair] = line.split(';');
      const equals = pair.indexOf('=');
      this.#cookies.set(pair.slice(0, equals), pair.slice(equals + 1));
    }
  }
}

/**
 * A web server for one repository: a process that starts another for each request. As root it makes the repository's
 * folder, which is the mount, its root directory.
 */
export class FossilServer extends FossilUser {
  readonly #child: ChildProcess;

  private constructor(child: ChildProcess, port: number) {
    super(`http://127.0.0.1:${port}`);
    this.#child = child;
  }

  /** Resolves when it answers. */
  static async start(dir: string, repository: string, onPort?: number): Promise<FossilServer> {
    const port = onPort ?? (await freePorts(1))[0];
    const args = ['server', '--localhost', '--port', `${port}`, repository];
    const child = spawn('fossil', args, { env: environment(dir), stdio: 'ignore' });
    const server = new FossilServer(child, port);
    try {
      await until(`fossil answers for ${repository}`, () =>
        fetch(server.url).then(
          ({ ok }) => ok,
          () => false,
        ),
      );
    } catch (error) {
      await server.stop();
      throw error;
    }
    return server;
  }

  async stop(): Promise<void> {
    if (this.#child.exitCode !== null || this.#child.signalCode !== null) return;
    this.#child.kill('SIGTERM');
    await once(this.#child, 'exit');
  }
}

/** A checkout of a served repository, which sends every commit there at once. */
export class FossilCheckout {
  readonly #dir: string;
  readonly #tree: string;

  constructor(dir: string, server: FossilUser) {
    this.#dir = dir;
    this.#tree = path.join(dir, 'checkout');
    const clone = path.join(dir, 'clone.fossil');
    fs.mkdirSync(this.#tree);
    fossil(dir, dir, 'clone', '--save-http-password', '--admin-user', USER, server.remote, clone);
    fossil(dir, this.#tree, 'open', clone, '--user', USER);
  }

  /** Writes a file and commits it; fossil pushes to the server. */
  commit(name: string, content: string, comment: string): void {
    const file = path.join(this.#tree, name);
    const isNew = !fs.existsSync(file);
    fs.writeFileSync(file, content);
    if (isNew) fossil(this.#dir, this.#tree, 'add', name);
    fossil(this.#dir, this.#tree, 'commit', '--no-warnings', '-m', comment);
  }
}

function environment(dir: string): NodeJS.ProcessEnv {
  return { ...process.env, HOME: dir, FOSSIL_HOME: dir, USER };
}
