import assert from 'node:assert/strict';
import fs from 'node:fs';
import { test } from 'node:test';
import { IN_CREATE, IN_IGNORED, IN_MODIFY, Inotify } from '../../../src/os/inotify.ts';
import { createEventFd, drainEventFd, pollIn, signalEventFd } from '../../../src/os/poll.ts';
import { withFolder } from './folder.ts';

test('a signalled event descriptor ends the wait until it is drained', () => {
  const quiet = createEventFd();
  const fd = createEventFd();
  try {
    assert.equal(pollIn([quiet, fd], 0), false);
    signalEventFd(fd);
    signalEventFd(fd);
    assert.equal(pollIn([quiet, fd], -1), true);
    drainEventFd(fd);
    drainEventFd(fd);
    assert.equal(pollIn([quiet, fd], 0), false);
  } finally {
    fs.closeSync(quiet);
    fs.closeSync(fd);
  }
});

test('the limit of a wait is in milliseconds and may be a fraction', () => {
  const fd = createEventFd();
  try {
    const began = performance.now();
    assert.equal(pollIn([fd], 2.5), false);
    const waited = performance.now() - began;
    assert.ok(waited >= 2.5 && waited < 1000, `${waited}`);
  } finally {
    fs.closeSync(fd);
  }
});

test('many descriptors can be waited for', () => {
  const fds = Array.from({ length: 20 }, createEventFd);
  try {
    assert.equal(pollIn(fds, 0), false);
    signalEventFd(fds[19]);
    assert.equal(pollIn(fds, -1), true);
  } finally {
    fds.forEach((fd) => {
      fs.closeSync(fd);
    });
  }
});

test('inotify tells of changes by watch and name, whatever bytes the name has', () =>
  withFolder((folder) => {
    const inotify = new Inotify();
    try {
      const file = Buffer.from(`${folder}/f`);
      fs.writeFileSync(file, 'x');
      const ofFile = inotify.watch(file, IN_MODIFY);
      const ofFolder = inotify.watch(Buffer.from(folder), IN_CREATE);
      assert.deepEqual(inotify.read(), []);
      fs.appendFileSync(file, 'y');
      fs.writeFileSync(Buffer.concat([Buffer.from(`${folder}/`), Buffer.from([0xff, 0x20])]), '');
      assert.equal(pollIn([inotify.fd], -1), true);
      assert.deepEqual(inotify.read(), [
        { wd: ofFile, mask: IN_MODIFY, name: '' },
        { wd: ofFolder, mask: IN_CREATE, name: '\xff ' },
      ]);
      inotify.unwatch(ofFile);
      assert.deepEqual(inotify.read(), [{ wd: ofFile, mask: IN_IGNORED, name: '' }]);
      inotify.unwatch(ofFile);
    } finally {
      inotify.close();
    }
  }));

test('watching what is not there fails with a code', () => {
  const inotify = new Inotify();
  try {
    assert.throws(() => inotify.watch(Buffer.from('/nonexistent'), IN_MODIFY), { code: 'ENOENT' });
  } finally {
    inotify.close();
  }
});
