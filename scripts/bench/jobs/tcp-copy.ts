/** Sends a file to a port, with nothing around it. */
import fs from 'node:fs';
import net from 'node:net';
import { pipeline } from 'node:stream/promises';
import { jobOptions } from '../job.ts';

export interface TcpCopyOptions {
  readonly file: string;
  readonly port: number;
}

const { file, port } = jobOptions<TcpCopyOptions>();
const socket = net.connect(port, '127.0.0.1');
await pipeline(fs.createReadStream(file, { highWaterMark: 1 << 20 }), socket);
console.log('{}');
