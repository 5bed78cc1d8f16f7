import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import path from 'node:path';
import { test } from 'node:test';
import { parseDescriptorLimit } from '../../../src/os/descriptor-limit.ts';

test('how many descriptors a process may have', () => {
  const line = 'Max open files            1024                 524288               files';
  assert.equal(parseDescriptorLimit(`Limit  Soft  Hard  Units\n${line}\n`), 1024);
  assert.equal(parseDescriptorLimit(line.replace('1024', 'unlimited')), Infinity);
  assert.equal(parseDescriptorLimit(''), Infinity);
  const module = path.resolve(import.meta.dirname, '../../../src/os/descriptor-limit.ts');
  const script = `import { descriptorLimit } from '${module}'; console.log(descriptorLimit())`;
  const args = ['--nofile=123:123', process.execPath, '--input-type=module', '-e', script];
  assert.equal(execFileSync('prlimit', args, { encoding: 'utf8' }).trim(), '123');
});
