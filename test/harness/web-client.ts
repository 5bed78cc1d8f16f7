/** A client for tests that keeps its cookies and its connections, as a browser does. */
import http from 'node:http';

export interface WebAnswer {
  readonly status: number;
  readonly headers: http.IncomingHttpHeaders;
  readonly trailers: NodeJS.Dict<string>;
  readonly body: Buffer;
  readonly text: string;
  // biome-ignore lint/suspicious/noExplicitAny: whatever the test expects there
  json(): any;
}

export interface WebRequest {
  readonly method?: string;
  readonly body?: string | Buffer;
  readonly headers?: Record<string, string>;
}

export class WebClient {
  readonly cookies = new Map<string, string>();
  readonly #agent = new http.Agent({ keepAlive: true });

  /** The whole answer. Rejects when there is none, or it is cut off. */
  fetch(port: number, path: string, request: WebRequest = {}): Promise<WebAnswer> {
    const { method = 'GET', body, headers = {} } = request;
    const cookie = [...this.cookies].map(([name, value]) => `${name}=${value}`).join('; ');
    return new Promise((resolve, reject) => {
      const sent = http.request(
        {
          host: '127.0.0.1',
          port,
          path,
          method,
          agent: this.#agent,
          headers: { ...(cookie ? { cookie } : {}), ...headers },
        },
        (answer) => {
          const chunks: Buffer[] = [];
          answer.on('data', (chunk) => chunks.push(chunk));
          answer.on('error', reject);
          answer.on('end', () => {
            this.#keep(answer.headers['set-cookie'] ?? []);
            const whole = Buffer.concat(chunks);
            const text = whole.toString();
            resolve({
              status: answer.statusCode ?? 0,
              headers: answer.headers,
              trailers: answer.trailers,
              body: whole,
              text,
              json: () => JSON.parse(text),
            });
          });
        },
      );
      sent.on('error', reject);
      sent.end(body);
    });
  }

  post(port: number, path: string, body?: string | Buffer): Promise<WebAnswer> {
    return this.fetch(port, path, { method: 'POST', body });
  }

  close(): void {
    this.#agent.destroy();
  }

  #keep(lines: readonly string[]): void {
    for (const line of lines) {
      const [pair] = line.split(';');
      const equals = pair.indexOf('=');
      const name = pair.slice(0, equals);
      const expires = /;\s*expires=([^;]+)/i.exec(line)?.[1];
      if (expires && Date.parse(expires) < Date.now()) this.cookies.delete(name);
      else this.cookies.set(name, pair.slice(equals + 1));
    }
  }
}
