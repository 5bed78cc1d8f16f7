/** Debian's Chromium for tests that look at pages: a fresh profile, no talk with the internet, removed with close(). */
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import {
  type BrowserContext,
  type BrowserContextOptions,
  chromium,
  type Page,
} from 'playwright-core';

const EXECUTABLE = '/usr/bin/chromium';
const FLAGS = [
  '--no-sandbox',
  '--disable-gpu',
  '--disable-quic',
  '--no-first-run',
  '--disable-background-networking',
  '--disable-component-update',
  '--disable-sync',
];

export interface OpenPage {
  readonly page: Page;
  /** What the page complained of: exceptions, and errors on the console. */
  readonly complaints: string[];
}

export class TestBrowser {
  readonly #profile: string;
  readonly #context: BrowserContext;

  private constructor(profile: string, context: BrowserContext) {
    this.#profile = profile;
    this.#context = context;
  }

  static async start(options: BrowserContextOptions = {}): Promise<TestBrowser> {
    const profile = fs.mkdtempSync(path.join(os.tmpdir(), 'litefs-lite-browser-'));
    try {
      const context = await chromium.launchPersistentContext(profile, {
        executablePath: EXECUTABLE,
        headless: true,
        args: FLAGS,
        ...options,
      });
      return new TestBrowser(profile, context);
    } catch (error) {
      fs.rmSync(profile, { recursive: true, force: true });
      throw error;
    }
  }

  async open(url: string): Promise<OpenPage> {
    const page = await this.#context.newPage();
    const complaints: string[] = [];
    page.on('pageerror', (error) => complaints.push(error.message));
    page.on('console', (message) => {
      if (message.type() === 'error') complaints.push(message.text());
    });
    await page.goto(url);
    return { page, complaints };
  }

  async close(): Promise<void> {
    await this.#context.close();
    fs.rmSync(this.#profile, { recursive: true, force: true, maxRetries: 5 });
  }
}
